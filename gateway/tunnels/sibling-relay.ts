/**
 * Forwards legs to the sibling worker that has their tunnel, over a Unix socket in a folder that only this
 * user may enter. Each connection carries one leg, as records: kind (1 byte), length (4, big-endian),
 * payload.
 */
import { lstatSync, mkdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { encodeTunnelMessage, TUNNEL_CLOSE, TUNNEL_LIMITS } from '../../protocol/index.ts';
import { LEG_BUFFER_BYTES, type Leg, type LegInput, type LocalLeg } from './leg.ts';

/** `joined`: a text message which means that the ticket was valid. */
const KIND = { address: 0, text: 1, frame: 2, close: 3, joined: 4 } as const;
const HEADER = 5;
/** Twice the limit of one leg: the tail of a burst may wait on both sides of the socket. */
const PASSAGE_BUFFER_BYTES = 2 * LEG_BUFFER_BYTES;

export interface SiblingRelayParts {
  /** Folder of the gateway's workers. */
  dir: string;
  workerNumber: number;
  relay: { enter(leg: Leg): LegInput };
  log: Logger;
}

export class SiblingRelay {
  readonly #parts: SiblingRelayParts;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;

  constructor(parts: SiblingRelayParts) {
    this.#parts = parts;
  }

  /** Listens for legs that siblings pass through. Rejects when it cannot. */
  async start(): Promise<void> {
    const { dir, workerNumber, log } = this.#parts;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    assertPrivate(dir);
    const path = socketPath(dir, workerNumber);
    try {
      // Left by a previous process: each number has one process at a time.
      unlinkSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    const server = createServer((socket) => this.#arrived(socket));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.removeListener('error', reject);
        server.on('error', (error) => log.error({ err: error }, 'the server for legs of siblings failed'));
        resolve();
      });
    });
  }

  /** Connects `leg` to worker `number`; events of either end affect the other. */
  through(number: number, leg: LocalLeg): LegInput {
    const socket = connect(socketPath(this.#parts.dir, number));
    this.#sockets.add(socket);
    const reader = new RecordReader((kind, payload) => {
      if (kind === KIND.frame) leg.frame(payload);
      else if (kind === KIND.text) leg.sayText(payload);
      else if (kind === KIND.joined) {
        leg.trusted();
        leg.sayText(payload);
      } else if (kind === KIND.close && payload.length >= 2) {
        leg.close(payload.readUInt16BE(0), payload.subarray(2).toString());
      }
    });
    let connected = false;
    socket.on('connect', () => {
      connected = true;
    });
    socket.on('data', (chunk: Buffer) => {
      if (!reader.take(chunk)) socket.destroy();
    });
    socket.on('error', (error) =>
      this.#parts.log.debug({ err: error, number }, 'connection to a sibling failed'),
    );
    socket.on('close', () => {
      this.#sockets.delete(socket);
      if (!connected) leg.say({ t: 'refused', reason: 'wrong-worker' });
      leg.close(TUNNEL_CLOSE.unreachable, 'the process that has the tunnel is gone');
    });
    writeRecord(socket, KIND.address, Buffer.from(leg.address));
    return {
      text: (text) => writeRecord(socket, KIND.text, Buffer.from(text)),
      frame: (bytes) => {
        writeRecord(socket, KIND.frame, bytes);
        if (socket.writableLength > PASSAGE_BUFFER_BYTES) socket.destroy();
      },
      closed: () => {
        socket.end();
      },
    };
  }

  /** Idempotent; closes forwarded legs. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    for (const socket of this.#sockets) socket.destroy();
    if (!server) return;
    await new Promise<void>((resolve) => server.close(() => resolve()));
    try {
      rmdirSync(this.#parts.dir);
    } catch {
      // Fails while siblings exist: the last of them removes it if their supervisor is gone.
    }
  }

  /** A sibling forwards a leg to this worker. */
  #arrived(socket: Socket): void {
    this.#sockets.add(socket);
    const { relay, log } = this.#parts;
    let input: LegInput | null = null;
    const reader = new RecordReader((kind, payload) => {
      if (input === null)
        input = relay.enter(new RemoteLeg(socket, payload.toString(), () => input?.closed()));
      else if (kind === KIND.frame) input.frame(payload);
      else if (kind === KIND.text) input.text(payload.toString());
    });
    socket.on('data', (chunk: Buffer) => {
      if (!reader.take(chunk)) socket.destroy();
    });
    socket.on('error', (error) => log.debug({ err: error }, 'connection from a sibling failed'));
    socket.on('end', () => socket.end());
    socket.on('close', () => {
      this.#sockets.delete(socket);
      input?.closed();
    });
  }
}

/** A leg whose WebSocket a sibling has. */
class RemoteLeg implements Leg {
  readonly address: string;
  readonly #socket: Socket;
  readonly #closed: () => void;

  constructor(socket: Socket, address: string, closed: () => void) {
    this.#socket = socket;
    this.address = address;
    this.#closed = closed;
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  say(message: Parameters<Leg['say']>[0]): void {
    const kind = message.t === 'joined' ? KIND.joined : KIND.text;
    writeRecord(this.#socket, kind, Buffer.from(encodeTunnelMessage(message)));
  }

  frame(bytes: Uint8Array): void {
    writeRecord(this.#socket, KIND.frame, bytes);
    if (this.#socket.writableLength > PASSAGE_BUFFER_BYTES) this.#socket.destroy();
  }

  close(code: number, reason: string): void {
    if (this.#socket.writableEnded || this.#socket.destroyed) return;
    const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
    payload.writeUInt16BE(code, 0);
    payload.write(reason, 2);
    writeRecord(this.#socket, KIND.close, payload);
    this.#socket.end();
    this.#closed();
  }
}

/** Splits the data of a Unix socket into records. */
class RecordReader {
  readonly #record: (kind: number, payload: Buffer) => void;
  #rest: Buffer | null = null;

  constructor(record: (kind: number, payload: Buffer) => void) {
    this.#record = record;
  }

  /** Returns false for invalid records. */
  take(chunk: Buffer): boolean {
    let data = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk]);
    while (data.length >= HEADER) {
      const length = data.readUInt32BE(1);
      if (length > TUNNEL_LIMITS.messageBytes) return false;
      if (data.length < HEADER + length) break;
      this.#record(data.readUInt8(0), data.subarray(HEADER, HEADER + length));
      data = data.subarray(HEADER + length);
    }
    this.#rest = data.length > 0 ? data : null;
    return true;
  }
}

/** Tickets pass through here, so the folder must belong to this user. Throws an `Error`. */
function assertPrivate(dir: string): void {
  const found = lstatSync(dir);
  const ours = process.getuid === undefined || found.uid === process.getuid();
  if (found.isDirectory() && ours && (found.mode & 0o077) === 0) return;
  throw new Error(`${dir} is not a folder that only this user may enter`);
}

function socketPath(dir: string, workerNumber: number): string {
  return join(dir, `${workerNumber}.sock`);
}

/** Copies the payload: that of a WebSocket message is invalid after the call. */
function writeRecord(socket: Socket, kind: number, payload: Uint8Array): void {
  if (socket.writableEnded || socket.destroyed) return;
  const record = Buffer.allocUnsafe(HEADER + payload.length);
  record.writeUInt8(kind, 0);
  record.writeUInt32BE(payload.length, 1);
  record.set(payload, HEADER);
  socket.write(record);
}
