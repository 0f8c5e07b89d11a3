/**
 * The operator's end of one tunnel: requests it, joins it, moves it when its gateway leaves, and finds out
 * why it ended. It reports what happens in words.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { nodeFrameCipher } from '../../device/platform/frame-cipher-node.ts';
import { wsLegDial } from '../../device/tunnels/dial-node.ts';
import { type FrameCipher, Tunnel, type TunnelTicket } from '../../tunnel/index.ts';
import { type ApiClient, ApiUnavailable } from '../api/api-client.ts';
import type { OpenedTunnelView, TunnelView } from '../api/views.ts';
import { CliError, EXIT } from '../exit-codes.ts';

export interface TunnelWish {
  deviceId: string;
  port: number;
  host?: string;
  reason?: string;
  /** Seconds. */
  timeLimit?: number;
}

export interface OperatorTunnelParts {
  api: ApiClient;
  /** For the person at the terminal. */
  note: (text: string) => void;
}

/** How long to wait for the ledger to record the end: it gives up a gateway when its lease has ended. */
const END_KNOWN_WITHIN_MS = 20_000;
const MOVE_WITHIN_MS = 25_000;
const ASK_AGAIN_MS = 500;
const CLOSE_WITHIN_MS = 5_000;

export class OperatorTunnel {
  readonly view: TunnelView;
  /** Resolves with the reason in words when the tunnel is over; never if this side closed it. */
  readonly ended: Promise<string>;
  readonly #parts: OperatorTunnelParts;
  readonly #tunnel: Tunnel;
  #gateway: string;
  #isConnected = false;
  #wasConnected = false;
  readonly #onConnected = new Set<() => void>();

  private constructor(view: TunnelView, entry: Entry & { cipher: FrameCipher }, parts: OperatorTunnelParts) {
    this.view = view;
    this.#parts = parts;
    const { ticket, cipher } = entry;
    this.#gateway = ticket.gateway.name;
    let end: (reason: string) => void = () => {};
    this.ended = new Promise((resolve) => {
      end = resolve;
    });
    this.#tunnel = new Tunnel(
      ticket,
      { side: 'operator', dial: wsLegDial(), cipher, allocate: (bytes) => Buffer.allocUnsafeSlow(bytes) },
      {
        joined: ({ name }) => this.#joined(name),
        connected: (connected) => this.#connected(connected),
        dropped: ({ reason }) =>
          this.#note(`Connection to gateway ${this.#gateway} lost${reason && ` (${reason})`}; resuming.`),
        moving: () => void this.#move().catch((error) => this.#note((error as Error).message)),
        ended: (reason) => void this.#whyEnded(reason).then(end),
      },
    );
  }

  /** Joins; rejects with a `CliError` that says why if there is no tunnel. */
  static async open(wish: TunnelWish, parts: OperatorTunnelParts): Promise<OperatorTunnel> {
    const opened = await parts.api.request<OpenedTunnelView>('POST', '/v1/tunnels', { body: wish });
    const { tunnel, join } = opened;
    if (!join)
      throw new CliError(EXIT.notAllSucceeded, `No tunnel: ${tunnel.end?.reason ?? 'it ended at once'}`);
    const { ticket, cipher } = entryOf(tunnel.id, join);
    if (!cipher) throw new CliError(EXIT.fault, 'The server gave no key for the tunnel.');
    const operator = new OperatorTunnel(tunnel, { ticket, cipher }, parts);
    const failed = operator.#tunnel.start().then(
      () => new Promise<never>(() => {}),
      () => operator.ended.then((why) => why),
    );
    const why = await Promise.race([operator.#firstConnected(), operator.ended, failed]);
    if (why === undefined) return operator;
    throw new CliError(EXIT.notAllSucceeded, `No tunnel: ${why}`);
  }

  get id(): string {
    return this.view.id;
  }

  get gateway(): string {
    return this.#gateway;
  }

  get streams(): number {
    return this.#tunnel.streams;
  }

  /** Both ends are connected now. */
  get connected(): boolean {
    return this.#isConnected;
  }

  /** A stream to what the tunnel leads to. Throws `TooManyStreams`. */
  stream(handlers: Parameters<Tunnel['open']>[1]): ReturnType<Tunnel['open']> {
    const { host, port } = this.view;
    return this.#tunnel.open({ host, port }, handlers);
  }

  /**
   * Leaves for good. It also informs the server, for a gateway that it cannot reach would otherwise wait for
   * this end.
   */
  async close(): Promise<void> {
    const mute = !this.#isConnected && !this.#tunnel.over;
    this.#tunnel.close('operator-left');
    if (!mute) return;
    await this.#closeOnRecord('closed');
  }

  async #closeOnRecord(code: 'closed' | 'forged'): Promise<void> {
    // The signal that interrupted the command must not interrupt this.
    const api = this.#parts.api.withSignal(AbortSignal.timeout(CLOSE_WITHIN_MS));
    await api.request('POST', `/v1/tunnels/${this.id}/close?code=${code}`).catch((error) => {
      this.#note(`The tunnel is not closed yet: ${(error as Error).message}`);
    });
  }

  #firstConnected(): Promise<undefined> {
    return new Promise((resolve) => {
      this.#onConnected.add(() => resolve(undefined));
    });
  }

  #joined(gateway: string): void {
    if (gateway !== this.#gateway) this.#note(`The tunnel goes on at gateway ${gateway}.`);
    this.#gateway = gateway;
  }

  #connected(connected: boolean): void {
    if (connected && this.#wasConnected) this.#note('Both ends are connected again.');
    this.#isConnected = connected;
    this.#wasConnected ||= connected;
    if (connected) for (const tell of this.#onConnected) tell();
  }

  /** The gateway leaves. Another one may not be available at once. */
  async #move(): Promise<void> {
    this.#note(`Gateway ${this.#gateway} leaves; moving to another.`);
    const deadline = performance.now() + MOVE_WITHIN_MS;
    while (!this.#tunnel.over) {
      try {
        const opened = await this.#parts.api.request<OpenedTunnelView>('POST', `/v1/tunnels/${this.id}/move`);
        if (!opened.join) return;
        const { ticket, cipher } = entryOf(this.id, opened.join);
        await this.#tunnel.moveTo(ticket, cipher);
        return;
      } catch (error) {
        // Refused for good: the tunnel has ended, or this token may no longer move it.
        const final = error instanceof CliError && !(error instanceof ApiUnavailable);
        if (final || performance.now() > deadline) throw error;
      }
      await pause(ASK_AGAIN_MS);
    }
  }

  /**
   * This end can only guess the reason; the record has it from the gateway. The record is not asked about
   * tampering, which may be the gateway's own doing.
   */
  async #whyEnded(seen: string): Promise<string> {
    if (seen.startsWith('forged')) {
      await this.#closeOnRecord('forged');
      return `Gateway ${this.#gateway}, or something on the way, changed or made up what passed (${seen})`;
    }
    const deadline = performance.now() + END_KNOWN_WITHIN_MS;
    for (;;) {
      try {
        const { state, end } = await this.#parts.api.get<TunnelView>(`/v1/tunnels/${this.id}`);
        if (state === 'ended') return `${end?.reason ?? seen} (${end?.code ?? seen})`;
      } catch (error) {
        if (!(error instanceof ApiUnavailable)) return seen;
      }
      if (performance.now() > deadline) return `${seen} (not recorded yet)`;
      await pause(ASK_AGAIN_MS);
    }
  }

  #note(text: string): void {
    this.#parts.note(text);
  }
}

/** Where to join, and the cipher for a new key. */
interface Entry {
  ticket: TunnelTicket;
  cipher: FrameCipher | undefined;
}

function entryOf(tunnel: string, join: NonNullable<OpenedTunnelView['join']>): Entry {
  const { gateway, worker, ticket, key } = join;
  const cipher = key === null ? undefined : nodeFrameCipher(Buffer.from(key, 'base64url'), 'operator');
  return { ticket: { tunnel, gateway, worker, ticket }, cipher };
}
