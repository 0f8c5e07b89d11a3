/**
 * One stream's worth of traffic both ways. The client says what it will send and what it wants: 16 bytes
 * (seed and length up, seed and length down), then its bytes and the end of them. The server sends its own at
 * the same time and, once it has all of the client's and their end, the SHA-256 of what came. So each side's
 * every byte is checked, in order, and each direction ends by itself.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { Pattern } from './pattern.ts';

export interface Order {
  seedUp: number;
  lengthUp: number;
  seedDown: number;
  lengthDown: number;
}

const HEADER = 16;
const PIECE = 48 * 1024;

export function orderBytes({ seedUp, lengthUp, seedDown, lengthDown }: Order): Buffer {
  const bytes = Buffer.alloc(HEADER);
  for (const [i, value] of [seedUp, lengthUp, seedDown, lengthDown].entries())
    bytes.writeUInt32LE(value, i * 4);
  return bytes;
}

/** What a client sends, piece by piece. */
export function* piecesOf({ seedUp, lengthUp }: Order): Generator<Buffer> {
  const pattern = new Pattern(seedUp);
  for (let sent = 0; sent < lengthUp; sent += PIECE) yield pattern.take(Math.min(PIECE, lengthUp - sent));
}

/** Checks what a client receives. */
export class AnswerCheck {
  readonly #order: Order;
  readonly #pattern: Pattern;
  #received = 0;
  #digest = Buffer.alloc(0);
  fault: string | null = null;

  constructor(order: Order) {
    this.#order = order;
    this.#pattern = new Pattern(order.seedDown);
  }

  get received(): number {
    return this.#received;
  }

  take(bytes: Uint8Array): void {
    const body = bytes.subarray(0, Math.max(0, this.#order.lengthDown - this.#received));
    if (body.length > 0 && Buffer.compare(body, this.#pattern.take(body.length)) !== 0) {
      const end = this.#received + body.length;
      this.fault ??= `other bytes than were sent, between ${this.#received} and ${end}`;
    }
    this.#received += bytes.length;
    if (bytes.length > body.length) this.#digest = Buffer.concat([this.#digest, bytes.subarray(body.length)]);
  }

  /** At the end of the stream: what is wrong, if anything is. */
  end(): string | null {
    if (this.fault !== null) return this.fault;
    const { lengthDown } = this.#order;
    if (this.#received !== lengthDown + 32) return `${this.#received} bytes instead of ${lengthDown + 32}`;
    const hash = createHash('sha256');
    for (const piece of piecesOf(this.#order)) hash.update(piece);
    return hash.digest().equals(this.#digest) ? null : 'the server received other bytes than were sent';
  }
}

/** The server's side, on 127.0.0.1. */
export async function startExchangeServer(): Promise<{ port: number; stop(): void }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => {
      // The other end went away; the client notices what is missing.
    });
    void serve(socket).catch(() => socket.destroy());
  });
  // A thousand connections may come at the same moment.
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 });
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    stop: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function serve(socket: Socket): Promise<void> {
  const hash = createHash('sha256');
  let head = Buffer.alloc(0);
  let sending: Promise<void> | undefined;
  // The other direction goes on when this one has ended.
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    let bytes = chunk;
    if (!sending) {
      head = Buffer.concat([head, chunk]);
      if (head.length < HEADER) continue;
      const order = { seedUp: head.readUInt32LE(8), lengthUp: head.readUInt32LE(12) };
      sending = send(socket, { ...order, seedDown: 0, lengthDown: 0 });
      // Awaited below, unless reading fails first.
      sending.catch(() => {});
      bytes = head.subarray(HEADER);
    }
    hash.update(bytes);
  }
  await sending;
  socket.end(hash.digest());
}

async function send(socket: Socket, order: Order): Promise<void> {
  for (const piece of piecesOf(order)) {
    if (!socket.write(piece)) await once(socket, 'drain');
  }
}
