import { decodeDeviceMessage, encodeDeviceMessage, LIMITS } from '../protocol/index.ts';
import { clip } from './clip.ts';
import { Aborted, Failed, Rejected } from './handlers.ts';
import type { Outcome } from './store.ts';

/** An outcome as it may travel: a reason within its limit, and data that is JSON and fits. */
export function outcome(state: Outcome['state'], reason?: string, data?: unknown): Outcome {
  const made: Outcome = { state };
  if (reason !== undefined) made.reason = clip(reason, LIMITS.reasonLength);
  try {
    const json = data === undefined ? undefined : JSON.stringify(data, (_, value) => wellFormed(value));
    if (json !== undefined) made.data = JSON.parse(json);
    // A result that broke a rule would cost the connection (4400), so the gateway's own check is made here first.
    decodeDeviceMessage(encodeDeviceMessage({ t: 'result', id: 'x', ...made }));
    return made;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { state: 'failed', reason: clip(`result not sendable: ${why}`, LIMITS.reasonLength) };
  }
}

function wellFormed(value: unknown): unknown {
  return typeof value === 'string' ? clip(value) : value;
}

/** What a handler's error means for its execution; `null` when the device stopped it and nothing is to be said yet. */
export function outcomeOfError(error: unknown, signal: AbortSignal): Outcome | null {
  const aborted = signal.aborted && signal.reason instanceof Aborted ? signal.reason.why : undefined;
  if (aborted === 'stopped') return null;
  const failure = error instanceof Failed ? error : undefined;
  if (aborted === 'canceled') return outcome('canceled', undefined, failure?.data);
  if (error instanceof Rejected) return outcome('rejected', error.message);
  return outcome('failed', error instanceof Error ? error.message : String(error), failure?.data);
}
