/** Commands given through the HTTP API, and what became of them. */
import { STILL_MS } from '../measure/clock.ts';
import type { Site } from './site.ts';

interface CommandView {
  id: string;
  finishedAt: string | null;
  expanded: boolean;
  counts: Record<string, number> & { total: number; succeeded: number };
}

export type Target = { all: true } | { group: string } | { devices: string[] };

export async function forceSync(site: Site, target: Target): Promise<string> {
  return (await site.post<CommandView>('/v1/commands', { type: 'sync', target })).id;
}

/** A message with a body of about `bytes` bytes. */
export async function sendMessage(site: Site, target: Target, bytes: number): Promise<string> {
  const args = { topic: 'bench', body: 'x'.repeat(bytes) };
  return (await site.post<CommandView>('/v1/commands', { type: 'message', args, target })).id;
}

/**
 * Waits until every execution of the command is recorded as final, or nothing has become of any for a minute.
 * The event is waited for, as programs should: asking again and again has all its executions counted each
 * time.
 */
export async function whenFinished(site: Site, id: string): Promise<CommandView> {
  for (let before = ''; ; ) {
    const command = await whenFinishedWithin(site, id, STILL_MS);
    const counts = JSON.stringify(command.counts);
    if (command.finishedAt !== null || counts === before) return command;
    before = counts;
  }
}

async function whenFinishedWithin(site: Site, id: string, timeoutMs: number): Promise<CommandView> {
  const given = new AbortController();
  const timer = setTimeout(() => given.abort(), timeoutMs);
  const view = () => site.get<CommandView>(`/v1/commands/${id}`);
  try {
    const events = await site.events(`type=command.finished&command=${id}`, given.signal);
    const command = await view();
    if (command.finishedAt !== null) return command;
    for await (const text of events) if (text.includes('event: command.finished')) break;
  } catch (error) {
    if (!given.signal.aborted) throw error;
  } finally {
    clearTimeout(timer);
    given.abort();
  }
  return view();
}
