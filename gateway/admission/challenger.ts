import type { UnauthenticatedSocket } from '../../bus/unauthenticated-sockets.ts';
import { CLOSE, encodeGatewayMessage } from '../../protocol/index.ts';
import type { Connections } from '../sessions/connections.ts';
import type { Connection, DeviceSocket } from '../sessions/session.ts';
import { Nonces } from './handshake.ts';

export interface ChallengerParts {
  gateway: string;
  connections: Connections;
  /** The id of the installation the bus serves; `undefined` while that is not known. */
  installation: () => string | undefined;
  opened: () => void;
  /** Messages and bytes that a new connection may send at once. */
  budget: { messageBurst: number; byteBurst: number };
  tick: () => number;
  /** The clock that all programs share. */
  now: () => number;
}

/** Makes a connection of a new WebSocket, and says the first word to it: the challenge (H-2). */
export class Challenger {
  readonly #parts: ChallengerParts;
  readonly #nonces = new Nonces();

  constructor(parts: ChallengerParts) {
    this.#parts = parts;
  }

  /** `unauthenticated` is `null` for the canary. */
  open(socket: DeviceSocket, port: number, unauthenticated: UnauthenticatedSocket | null): Connection {
    const { connections, gateway, budget, tick, now, opened } = this.#parts;
    const nonce = this.#nonces.next();
    const connection = connections.open({
      socket,
      port,
      unauthenticated,
      nonce,
      heardTick: tick(),
      budget: budget.messageBurst,
      bytes: budget.byteBurst,
    });
    const installation = this.#parts.installation();
    if (installation === undefined) {
      const reason = 'H-2: the gateway does not know its installation yet';
      connections.close(connection, CLOSE.notReady, reason);
      return connection;
    }
    const time = now();
    connections.send(
      connection,
      encodeGatewayMessage({ t: 'challenge', nonce, gateway, installation, time }),
    );
    opened();
    return connection;
  }
}
