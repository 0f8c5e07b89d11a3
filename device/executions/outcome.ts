import { encodeResultBody, encodeValue, LIMITS } from '../../protocol/index.ts';
import { clip } from '../platform/clip.ts';
import type { Outcome } from '../storage/store.ts';
import { Aborted, Failed, Rejected } from './handlers.ts';
import { CannotTravel, tooLong, travelling } from './travel.ts';

export interface Travel {
  /** Called with data that cannot travel. */
  refused?: (error: CannotTravel) => void;
  /** For a secret command: sealing takes some of the room. */
  secret?: boolean;
}

/**
 * An outcome as it may travel: a reason within its limit, and data that is JSON and fits. Data
 * that cannot travel is left out and the reason says so; the state stays what it is.
 */
export function outcome(
  state: Outcome['state'],
  reason?: string,
  data?: unknown,
  { refused, secret }: Travel = {},
): Outcome {
  const made: Outcome = { state };
  if (reason !== undefined) made.reason = clip(reason, LIMITS.reasonLength);
  if (data === undefined) return made;
  try {
    const whole: Outcome = { ...made, data: travelling(data) };
    const { length } = encodeValue(whole);
    const max = secret ? LIMITS.secretResultBytes : LIMITS.resultBytes;
    if (length > max) throw tooLong(max, length);
    // The ledger would refuse a result that breaks a rule, so its check is made here first.
    encodeResultBody(whole);
    return whole;
  } catch (error) {
    const why = error instanceof CannotTravel ? error : new CannotTravel(textOf(error));
    refused?.(why);
    const note = `the data could not travel: ${clip(why.message, LIMITS.reasonLength / 2)}`;
    made.reason = made.reason ? `${clip(made.reason, LIMITS.reasonLength - note.length - 2)}; ${note}` : note;
    return made;
  }
}

/**
 * The outcome for a handler's error; `null` if the device stopped the handler and nothing is to be reported
 * yet.
 */
export function outcomeOfError(error: unknown, signal: AbortSignal, travel?: Travel): Outcome | null {
  const aborted = signal.aborted && signal.reason instanceof Aborted ? signal.reason.why : undefined;
  if (aborted === 'stopped') return null;
  const failure = isOf(Failed, error) ? error : undefined;
  if (aborted === 'canceled') return outcome('canceled', undefined, failure?.data, travel);
  return outcome(isOf(Rejected, error) ? 'rejected' : 'failed', textOf(error), failure?.data, travel);
}

/** Handlers may throw anything, even objects that throw when inspected. */
function isOf<T extends Error>(kind: new (...args: never[]) => T, error: unknown): error is T {
  try {
    return error instanceof kind;
  } catch {
    return false;
  }
}

function textOf(error: unknown): string {
  try {
    const text: unknown = error instanceof Error ? error.message : error;
    return String(text);
  } catch {
    return 'an error without a message';
  }
}
