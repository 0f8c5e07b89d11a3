/** A bad network: passes TCP on to a gateway, and cuts the connections of tunnels' legs when told to. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

export class CuttingProxy {
  readonly #target: () => number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #legs = new Set<Socket>();
  /** Connections of legs that were cut. */
  cuts = 0;

  /** `target`: the port of the gateway. */
  constructor(target: () => number) {
    this.#target = target;
    this.#server = createServer({ noDelay: true }, (socket) => this.#pass(socket));
  }

  async start(port: number): Promise<void> {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /** Legs connected now. */
  get legs(): number {
    return this.#legs.size;
  }

  /** Cuts some of the legs, in the middle of whatever they carry. */
  cut(choose: (leg: number) => boolean): void {
    for (const [i, socket] of [...this.#legs].entries()) {
      if (!choose(i)) continue;
      this.cuts += 1;
      socket.resetAndDestroy();
    }
  }

  stop(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #pass(socket: Socket): void {
    const gateway = connect({ port: this.#target(), host: '127.0.0.1', noDelay: true });
    for (const [one, other] of [
      [socket, gateway],
      [gateway, socket],
    ] as const) {
      this.#sockets.add(one);
      one.on('error', () => {
        // Closing follows.
      });
      one.once('close', () => {
        this.#sockets.delete(one);
        this.#legs.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
    socket.once('data', (first: Buffer) => {
      if (first.subarray(0, 16).toString('latin1').startsWith('GET /tunnel')) this.#legs.add(socket);
    });
  }
}
