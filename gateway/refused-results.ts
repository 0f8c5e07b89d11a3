/** What becomes of a result for which the receipt spool has no room: its device keeps it, and is told when to try again. */
import { encodeGatewayMessage } from '../protocol/index.ts';
import type { Connections } from './connections.ts';
import type { Metrics } from './metrics.ts';
import type { ResultReceipt } from './receipt-spool.ts';

/** A device that has left meanwhile says it again by itself after its next `welcome`. */
export function handBack(
  { device, command }: ResultReceipt,
  connections: Connections,
  metrics: Metrics,
  retryMs: number,
): void {
  metrics.resultsHandedBack++;
  const connection = connections.sessions.get(device);
  if (connection) connections.send(connection, encodeGatewayMessage({ t: 'keep', id: command, retryMs }));
}
