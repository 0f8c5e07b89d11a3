/**
 * An append-only file of JSON lines, each after the CRC-32 of its text. A line damaged by a crash or a disk
 * is skipped, and the others still count; writers that wait together share one fsync.
 */
import { type FileHandle, open, readFile, rename } from 'node:fs/promises';
import { crc32 } from './crc32.ts';
import { syncFolder } from './file-mode.ts';

function encodeLine(value: unknown): string {
  const text = JSON.stringify(value);
  return `${crc32(Buffer.from(text)).toString(16).padStart(8, '0')} ${text}\n`;
}

function decodeLine(line: string): unknown {
  const text = line.slice(9);
  if (crc32(Buffer.from(text)) !== Number.parseInt(line.slice(0, 8), 16)) return undefined;
  return JSON.parse(text);
}

interface Waiting {
  text: string;
  done: () => void;
  failed: (error: unknown) => void;
}

export class JournalFile {
  readonly #path: string;
  #file: FileHandle | null = null;
  #bytes = 0;
  /** The file ends in the middle of a line: begin a new one. */
  #torn = false;
  #waiting: Waiting[] = [];
  #flushing: Promise<void> | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Opens for appending, and returns what the file holds. */
  async open(): Promise<{ entries: unknown[]; damagedLines: number }> {
    let text = '';
    try {
      text = await readFile(this.#path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    const entries: unknown[] = [];
    let damagedLines = 0;
    for (const line of text.split('\n')) {
      if (line === '') continue;
      const entry = decodeLine(line);
      if (entry === undefined) damagedLines++;
      else entries.push(entry);
    }
    this.#torn = text !== '' && !text.endsWith('\n');
    this.#file = await open(this.#path, 'a', 0o600);
    this.#bytes = (await this.#file.stat()).size;
    return { entries, damagedLines };
  }

  /** Resolves when the lines are on the disk. */
  append(values: unknown[]): Promise<void> {
    return new Promise((done, failed) => {
      this.#waiting.push({ text: values.map(encodeLine).join(''), done, failed });
      this.#flushing ??= this.#flush();
    });
  }

  /** Writes `values` to a new file that replaces this one; nothing may be appended meanwhile. */
  async rewrite(values: unknown[]): Promise<void> {
    await this.#flushing;
    const next = `${this.#path}.new`;
    const file = await open(next, 'w', 0o600);
    try {
      await file.writeFile(values.map(encodeLine).join(''));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, this.#path);
    await syncFolder(this.#path);
    await this.#file?.close();
    this.#file = await open(this.#path, 'a', 0o600);
    this.#bytes = (await this.#file.stat()).size;
    this.#torn = false;
  }

  async close(): Promise<void> {
    await this.#flushing;
    await this.#file?.close();
    this.#file = null;
  }

  async #flush(): Promise<void> {
    // One turn later, so that all entries of this turn are written together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      const text = (this.#torn ? '\n' : '') + batch.map((entry) => entry.text).join('');
      try {
        if (!this.#file) throw new Error('the journal is closed');
        this.#torn = true;
        await this.#file.appendFile(text);
        await this.#file.datasync();
        this.#torn = false;
        this.#bytes += Buffer.byteLength(text);
        for (const entry of batch) entry.done();
      } catch (error) {
        for (const entry of batch) entry.failed(error);
      }
    }
    this.#flushing = null;
  }
}
