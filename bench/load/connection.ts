/**
 * One device's connection: dials, upgrades, reads frames, and dials again when the swarm allows it. The
 * dialect decides what it says.
 */
import { Reconnect } from '../../device/connection/reconnect.ts';
import { clientFrame, joined, OPCODE, readFrames } from './frames.ts';
import { closeTcp, dialTcp, pauseTcp, resumeTcp, type TcpOwner, type TcpSocket, writeTcp } from './tcp.ts';

export type Phase = 'idle' | 'connecting' | 'upgrading' | 'open' | 'ready' | 'waiting' | 'gone';

/** What a connection needs from its swarm. */
export interface Keeper {
  /** Whether a lost connection is dialed again, by the rules of the SDK. */
  readonly returning: boolean;
  /** The request that upgrades; the same for all. */
  readonly request: Uint8Array;
  target(index: number): { host: string; port: number };
  readonly targets: number;
  opened(connection: Connection): void;
  message(connection: Connection, payload: Uint8Array, opcode: number): void;
  phaseChanged(connection: Connection, before: Phase): void;
  refused(status: number): void;
  ended(connection: Connection, code: number, wasReady: boolean): void;
}

const EMPTY = new Uint8Array();
const NORMAL_CLOSE = clientFrame(new Uint8Array([0x03, 0xe8]), OPCODE.close);
/** RFC 6455, 7.4.1: no close frame was seen. */
const NO_CLOSE_FRAME = 1006;

export class Connection implements TcpOwner {
  readonly number: number;
  readonly #keeper: Keeper;
  socket: TcpSocket | null = null;
  phase: Phase = 'idle';
  /** Which of the targets it dials. */
  target = 0;
  /** State of the dialect. */
  state: unknown = undefined;
  readyAt = 0;
  /** In a later session, and not yet reached by a command in it. */
  returned = false;
  #rest = EMPTY;
  #closeCode = 0;
  #retryAfterMs: number | undefined;
  #reconnect: Reconnect | undefined;

  constructor(number: number, keeper: Keeper) {
    this.number = number;
    this.#keeper = keeper;
  }

  dial(): void {
    const { host, port } = this.#keeper.target(this.target);
    this.#rest = EMPTY;
    this.#closeCode = 0;
    this.#retryAfterMs = undefined;
    this.#enter('connecting');
    dialTcp(this, host, port, sourceAddress(this.number));
  }

  connected(): void {
    this.#enter('upgrading');
    writeTcp(this, this.#keeper.request);
  }

  received(bytes: Uint8Array): void {
    let unread = this.#rest.length === 0 ? bytes : joined([this.#rest, bytes]);
    if (this.phase === 'upgrading') {
      const end = endOfHead(unread);
      if (end === 0) {
        this.#rest = unread.slice();
        return;
      }
      if (!this.#upgraded(unread.subarray(0, end))) return;
      unread = unread.subarray(end);
    }
    const used = readFrames(unread, (opcode, payload) => this.#frame(opcode, payload));
    this.#rest = used === unread.length ? EMPTY : unread.slice(used);
  }

  ended(): void {
    this.#gone(this.#closeCode || NO_CLOSE_FRAME);
  }

  /** The dialect calls this when the server has admitted the device. */
  ready(now: number): void {
    this.returned = this.readyAt > 0;
    this.readyAt = now;
    this.#enter('ready');
  }

  /** `frame` as `clientFrame` makes it; must not be changed afterwards. */
  send(frame: Uint8Array): void {
    writeTcp(this, frame);
  }

  stall(): void {
    pauseTcp(this);
  }

  resume(): void {
    resumeTcp(this);
  }

  /** Drops the connection silently; dials again if the swarm's devices do. */
  cut(): void {
    closeTcp(this, 'reset');
    this.#gone(NO_CLOSE_FRAME);
  }

  /** Closes for good. */
  leave(how: 'close' | 'reset'): void {
    if (this.socket && how === 'close' && this.phase !== 'connecting') writeTcp(this, NORMAL_CLOSE);
    closeTcp(this, how);
    this.#enter('gone');
  }

  #upgraded(head: Uint8Array): boolean {
    const text = Buffer.from(head.buffer, head.byteOffset, head.length).toString('latin1');
    const status = Number(text.slice(9, 12));
    if (status === 101) {
      this.#enter('open');
      this.#keeper.opened(this);
      return this.socket !== null;
    }
    const seconds = text.match(/^retry-after: (\d+)/im)?.[1];
    if (seconds !== undefined) this.#retryAfterMs = Number(seconds) * 1_000;
    this.#keeper.refused(status);
    closeTcp(this, 'reset');
    this.#gone(NO_CLOSE_FRAME);
    return false;
  }

  #frame(opcode: number, payload: Uint8Array): boolean {
    if (opcode === OPCODE.ping) {
      writeTcp(this, clientFrame(payload, OPCODE.pong));
    } else if (opcode === OPCODE.close) {
      this.#closeCode = payload.length < 2 ? 1005 : ((payload[0] as number) << 8) | (payload[1] as number);
      writeTcp(this, clientFrame(payload.slice(0, 2), OPCODE.close));
      closeTcp(this);
      this.#gone(this.#closeCode);
    } else if (opcode !== OPCODE.pong) {
      this.#keeper.message(this, payload, opcode);
    }
    return this.socket !== null;
  }

  #gone(code: number): void {
    const wasReady = this.phase === 'ready';
    const sessionMs = wasReady ? performance.now() - this.readyAt : 0;
    this.#rest = EMPTY;
    this.#keeper.ended(this, code, wasReady);
    // A device that was not admitted tries the next target, as the SDK does.
    if (!wasReady) this.target = (this.target + 1) % this.#keeper.targets;
    if (!this.#keeper.returning) {
      this.#enter('gone');
      return;
    }
    this.#reconnect ??= new Reconnect();
    const { inMs } = this.#reconnect.next({ code, retryAfterMs: this.#retryAfterMs, sessionMs });
    this.#enter(inMs === null ? 'gone' : 'waiting');
    if (inMs !== null) setTimeout(() => this.phase === 'waiting' && this.dial(), inMs);
  }

  #enter(phase: Phase): void {
    const before = this.phase;
    if (before === phase) return;
    this.phase = phase;
    this.#keeper.phaseChanged(this, before);
  }
}

/** Few enough behind one address that the kernel finds a free port at once. */
const PER_ADDRESS = 400;

/** Spread over 127.0.0.0/8, from 127.1.0.1 on. */
function sourceAddress(number: number): string {
  const block = Math.floor(number / PER_ADDRESS);
  const [high, middle] = [Math.floor(block / 62_500) % 250, Math.floor(block / 250) % 250];
  return `127.${1 + high}.${middle}.${1 + (block % 250)}`;
}

/** Where the head of an HTTP answer ends; 0 if it is incomplete. */
function endOfHead(bytes: Uint8Array): number {
  for (let at = 3; at < bytes.length; at++) {
    if (bytes[at] === 10 && bytes[at - 1] === 13 && bytes[at - 2] === 10 && bytes[at - 3] === 13)
      return at + 1;
  }
  return 0;
}
