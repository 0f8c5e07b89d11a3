/** Commands given through the HTTP API, and what became of them. */
import type { Bench } from '../scenario.ts';
import type { Site } from './site.ts';

interface CommandView {
  id: string;
  finishedAt: string | null;
  expanded: boolean;
  counts: Record<string, number> & { total: number; succeeded: number };
}

export type Target = { all: true } | { group: string } | { devices: string[] };

const POLL_MS = 50;

export async function forceSync(site: Site, target: Target): Promise<string> {
  return (await site.post<CommandView>('/v1/commands', { type: 'sync', target })).id;
}

/** A message with a body of about `bytes` bytes. */
export async function sendMessage(site: Site, target: Target, bytes: number): Promise<string> {
  const args = { topic: 'bench', body: 'x'.repeat(bytes) };
  return (await site.post<CommandView>('/v1/commands', { type: 'message', args, target })).id;
}

/** Waits until every execution of the command is final on record, or the time is up. */
export async function whenFinished(
  bench: Bench,
  site: Site,
  id: string,
  timeoutMs: number,
): Promise<CommandView> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const command = await site.get<CommandView>(`/v1/commands/${id}`);
    if (command.finishedAt !== null || performance.now() > deadline) return command;
    await bench.pause(POLL_MS);
  }
}
