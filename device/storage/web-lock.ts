/**
 * One tab or worker of an origin at a time, by Web Locks: the browser releases the lock of one that is gone.
 */

/* The part that is used here; the compiler's browser library is not loaded for Node. */
interface LockManager {
  request(
    name: string,
    options: { ifAvailable?: boolean; signal?: AbortSignal },
    held: (lock: object | null) => Promise<void> | undefined,
  ): Promise<void>;
}

/** Another tab or worker has it open. */
export class StoreInUse extends Error {
  override readonly name = 'StoreInUse';
  constructor(store: string) {
    super(
      `${store} is in use by another tab or worker: close that, open with { wait: true }, or use ` +
        'another name',
    );
  }
}

/**
 * Returns a function that releases the lock. With `wait` it resolves once the others have released it. Throws
 * `StoreInUse`.
 */
export async function lockStore(
  store: string,
  { wait = false, signal }: { wait?: boolean; signal?: AbortSignal },
  locks: LockManager | null = (globalThis as { navigator?: { locks?: LockManager } }).navigator?.locks ??
    null,
): Promise<() => void> {
  if (!locks) {
    throw new Error(
      'this browser has no Web Locks (they need https or localhost), so a second tab with the same ' +
        'identity would not be noticed: ' +
        'see to it yourself and open with { lock: false }',
    );
  }
  return new Promise((resolve, reject) => {
    const options = wait ? (signal ? { signal } : {}) : { ifAvailable: true };
    locks
      .request(`pushpoint ${store}`, options, (lock) => {
        if (!lock) {
          reject(new StoreInUse(store));
          return undefined;
        }
        return new Promise<void>((release) => resolve(release));
      })
      .catch(reject);
  });
}
