/** `pushpoint tunnel`: connections to a local port go through the tunnel, each as a stream of its own. */
import { createServer, type Server, type Socket } from 'node:net';
import { joinSocket } from '../../device/tunnels/tcp-node.ts';
import { TooManyStreams } from '../../tunnel/index.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import type { OperatorTunnel } from './operator-tunnel.ts';

export interface LocalAddress {
  host: string;
  port: number;
}

export interface Traffic {
  /** Open now, and since the beginning. */
  connections: number;
  served: number;
  /** Bytes from the device, and to it. */
  up: number;
  down: number;
}

export class TunnelListener {
  readonly #tunnel: OperatorTunnel;
  readonly #note: (text: string) => void;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #served = 0;
  #up = 0;
  #down = 0;
  #said = '';

  constructor(tunnel: OperatorTunnel, note: (text: string) => void) {
    this.#tunnel = tunnel;
    this.#note = note;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#serve(socket));
  }

  /** Where it listens. Rejects with `CliError` when it cannot. */
  start({ host, port }: LocalAddress): Promise<LocalAddress> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => {
        reject(
          new CliError(EXIT.usage, `Cannot listen on ${host} port ${port}: ${error.code ?? error.message}`),
        );
      });
      this.#server.listen({ host, port }, () => {
        resolve({ host, port: (this.#server.address() as { port: number }).port });
      });
    });
  }

  stop(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  get traffic(): Traffic {
    let [up, down] = [this.#up, this.#down];
    for (const socket of this.#sockets) {
      up += socket.bytesWritten;
      down += socket.bytesRead;
    }
    return { connections: this.#sockets.size, served: this.#served, up, down };
  }

  #serve(socket: Socket): void {
    this.#served += 1;
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#up += socket.bytesWritten;
      this.#down += socket.bytesRead;
    });
    socket.on('error', () => {
      // The client has disconnected; `joinSocket` informs the device.
    });
    try {
      this.#tunnel.stream((stream) => {
        const handlers = joinSocket(stream, socket);
        return {
          ...handlers,
          closed: (reset) => {
            handlers.closed(reset);
            if (reset?.remote) this.#say(`A connection was cut: ${reset.reason || reset.code}`);
          },
        };
      });
    } catch (error) {
      socket.destroy();
      if (!(error instanceof TooManyStreams)) throw error;
      this.#say('Too many connections at once; one was not taken.');
    }
  }

  /** A repeated message is not printed again. */
  #say(text: string): void {
    if (text !== this.#said) this.#note(text);
    this.#said = text;
  }
}
