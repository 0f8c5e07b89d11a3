/** Passes on all bytes between two programs, and keeps what the one that was dialed says. */
import { type AddressInfo, connect, createServer, type Server } from 'node:net';

export class Tap {
  readonly #parts: Buffer[] = [];
  #server: Server | undefined;

  /** Where to dial in place of `port`. */
  async listen(port: number): Promise<number> {
    const server = createServer((near) => {
      const far = connect(port, '127.0.0.1');
      for (const socket of [near, far]) socket.on('error', () => {});
      far.on('data', (bytes) => this.#parts.push(bytes));
      near.pipe(far).pipe(near);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#server = server;
    return (server.address() as AddressInfo).port;
  }

  has(text: string): boolean {
    return Buffer.concat(this.#parts).includes(text);
  }

  get bytes(): number {
    return this.#parts.reduce((sum, { length }) => sum + length, 0);
  }

  close(): void {
    this.#server?.close();
  }
}
