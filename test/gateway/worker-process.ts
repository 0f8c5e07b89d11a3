/**
 * A gateway worker in a process of its own, to be stopped and continued; it tells its parent of every
 * session.
 */
import type { Identity } from './raw-device.ts';
import { Rig } from './rig.ts';

/** What the process sends to its parent. */
export type WorkerReport =
  | { kind: 'started'; url: string; device: string; privateKey: string }
  | { kind: 'connected'; session: number; incarnation: string };

function report(message: WorkerReport): void {
  process.send?.(message);
}

const rig = new Rig({ config: { leaseTtlMs: 300 } });
await rig.start({});
const identity: Identity = await rig.enrol();
report({
  kind: 'started',
  url: rig.url,
  device: identity.id,
  privateKey: identity.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
});
let told = 0;
const telling = setInterval(() => {
  const connected = rig.receipts.flatMap((receipt) => (receipt.kind === 'connected' ? [receipt] : []));
  for (const { session, incarnation } of connected.slice(told))
    report({ kind: 'connected', session, incarnation });
  told = connected.length;
}, 10);
process.once('disconnect', () => {
  clearInterval(telling);
  void rig.stop();
});
