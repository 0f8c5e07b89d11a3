/**
 * Handles results that cannot be taken now: the device keeps the result and learns when to send it again
 * (R-7).
 */
import { encodeGatewayMessage } from '../../protocol/index.ts';
import type { Metrics } from '../metrics.ts';
import type { Connections } from './connections.ts';
import type { Connection } from './session.ts';

/** A device that has left sends it again by itself after its next `welcome`. */
export function handBack(
  connection: Connection | undefined,
  command: string,
  { connections, metrics, retryMs }: { connections: Connections; metrics: Metrics; retryMs: number },
): void {
  metrics.resultsHandedBack++;
  if (connection) connections.send(connection, encodeGatewayMessage({ t: 'keep', id: command, retryMs }));
}
