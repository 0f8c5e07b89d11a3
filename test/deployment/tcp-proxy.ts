/** A link between two programs that a scenario can slow down, cut, and let go silent. */
import { connect, createServer, type Server, type Socket } from 'node:net';

/**
 * `silent`: connections stay open, and nothing comes through in either direction: half-open to both ends.
 * `one-way`: whoever dialed hears everything and is not heard.
 */
type Condition =
  | { is: 'whole' }
  | { is: 'slow'; delayMs: number }
  | { is: 'cut' }
  | { is: 'silent' }
  | { is: 'one-way' };

export class TcpProxy {
  readonly #server: Server;
  readonly #targetPort: number;
  readonly #sockets = new Set<Socket>();
  #condition: Condition = { is: 'whole' };

  private constructor(server: Server, targetPort: number) {
    this.#server = server;
    this.#targetPort = targetPort;
    server.on('connection', (socket) => this.#accept(socket));
  }

  /** Listens on a free port of 127.0.0.1, and leads to `targetPort` there. */
  static async start(targetPort: number): Promise<TcpProxy> {
    const server = createServer({ noDelay: true });
    const proxy = new TcpProxy(server, targetPort);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy does not listen');
    return address.port;
  }

  slow(delayMs: number): void {
    this.#condition = { is: 'slow', delayMs };
  }

  /** Every connection breaks, and none can be made. */
  cut(): void {
    this.#condition = { is: 'cut' };
    this.#destroyAll();
  }

  silence(): void {
    this.#condition = { is: 'silent' };
  }

  oneWay(): void {
    this.#condition = { is: 'one-way' };
  }

  /** What was open meanwhile may have lost bytes, and breaks now. */
  heal(): void {
    const was = this.#condition.is;
    this.#condition = { is: 'whole' };
    if (was === 'silent' || was === 'one-way') this.#destroyAll();
  }

  async stop(): Promise<void> {
    this.#destroyAll();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(near: Socket): void {
    if (this.#condition.is === 'cut') {
      near.destroy();
      return;
    }
    const far = connect({ port: this.#targetPort, host: '127.0.0.1', noDelay: true });
    this.#carry(near, far, true);
    this.#carry(far, near, false);
  }

  #carry(from: Socket, to: Socket, fromDialer: boolean): void {
    this.#sockets.add(from);
    from.on('error', () => {
      // 'close' follows.
    });
    from.on('data', (bytes) => {
      if (this.#condition.is === 'silent' || (this.#condition.is === 'one-way' && fromDialer)) return;
      if (this.#condition.is === 'slow') {
        setTimeout(() => this.#write(from, to, bytes), this.#condition.delayMs);
      } else {
        this.#write(from, to, bytes);
      }
    });
    from.on('close', () => {
      this.#sockets.delete(from);
      // Where words do not come through, the end of them does not either.
      if (this.#condition.is === 'silent' || (this.#condition.is === 'one-way' && fromDialer)) return;
      // What is on its way comes before the end.
      if (this.#condition.is === 'slow') setTimeout(() => to.destroySoon(), this.#condition.delayMs);
      else to.destroy();
    });
  }

  #write(from: Socket, to: Socket, bytes: Buffer): void {
    if (to.destroyed || to.write(bytes)) return;
    from.pause();
    to.once('drain', () => from.resume());
  }
}
