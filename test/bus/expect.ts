import * as assert from 'uvu/assert';

/** Awaits that `promise` rejects with an error of `kind`. */
export async function rejectsWith(
  promise: Promise<unknown>,
  kind: abstract new (...args: never[]) => Error,
): Promise<void> {
  let error: unknown;
  try {
    await promise;
  } catch (caught) {
    error = caught;
  }
  assert.ok(error instanceof kind, `expected ${kind.name}, got ${String(error)}`);
}
