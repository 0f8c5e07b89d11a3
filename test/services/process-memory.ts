/** The memory of a process, searched for bytes that must not be in it. Linux only. */
import { open, readFile } from 'node:fs/promises';

const CHUNK = 16 * 1024 * 1024;

export const canReadMemory = process.platform === 'linux';

/** A process of ours, and those it started. */
export async function processTree(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  const below = children.split(' ').filter(Boolean).map(Number);
  return [pid, ...(await Promise.all(below.map(processTree))).flat()];
}

/** Which of these a process has in its memory, by name. */
export async function foundInMemory(
  pid: number,
  wanted: Readonly<Record<string, Uint8Array>>,
): Promise<string[]> {
  const maps = await readFile(`/proc/${pid}/maps`, 'utf8');
  const file = await open(`/proc/${pid}/mem`, 'r');
  const found = new Set<string>();
  try {
    for (const line of maps.split('\n')) {
      const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
      if (from === undefined || to === undefined) continue;
      for await (const bytes of region(file, Number.parseInt(from, 16), Number.parseInt(to, 16))) {
        for (const [name, text] of Object.entries(wanted)) {
          if (!found.has(name) && bytes.includes(Buffer.from(text))) found.add(name);
        }
      }
    }
  } finally {
    await file.close();
  }
  return [...found];
}

/** Pieces that overlap, so that nothing is missed between two of them. */
async function* region(file: Awaited<ReturnType<typeof open>>, from: number, to: number) {
  const buffer = Buffer.alloc(CHUNK);
  for (let at = from; at < to; at += CHUNK - 4_096) {
    const length = Math.min(CHUNK, to - at);
    // A mapping may be gone by now, or not be readable.
    const read = await file.read(buffer, 0, length, at).catch(() => null);
    if (read === null || read.bytesRead === 0) return;
    yield buffer.subarray(0, read.bytesRead);
  }
}
