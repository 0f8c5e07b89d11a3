/**
 * The device's end of tunnels: obeys `tunnel.open` and `tunnel.close`, and lets no stream through that the
 * device's own list does not allow (T-12). A tunnel lives on when its command has succeeded.
 */
import { type Encrypted, LIMITS, sealedTunnelBytes, TUNNEL_LIMITS } from '../../protocol/index.ts';
import {
  type FrameCipher,
  type LegDial,
  type LegTimes,
  type MakeFrameCipher,
  type Refusal,
  type StreamHandlers,
  Tunnel,
  type TunnelStream,
  type TunnelTicket,
} from '../../tunnel/index.ts';
import type { DeviceKeys } from '../executions/device-keys.ts';
import { type Command, Rejected } from '../executions/handlers.ts';
import { fromBase64url } from '../platform/base64url.ts';
import { AllowList } from './allow-list.ts';

export interface TunnelTarget {
  host: string;
  port: number;
}

/** Serves a stream: returns the stream's handlers. To refuse, call `stream.reset`. */
export type ServeStream = (stream: TunnelStream) => StreamHandlers;

export interface DeviceTunnelOptions {
  /**
   * What tunnels may reach: `22` (a port of this device), `db.internal:5432`. Nothing by default. The device
   * connects by TCP, unless `serve` takes the stream.
   */
  allow?: readonly (string | number)[];
  /** Targets that the program serves itself. */
  serve?: (target: TunnelTarget) => ServeStream | undefined;
  /** Tunnels at once; default 8. */
  maxTunnels?: number;
  /** Dials gateways; the platform's own when absent. */
  dial?: LegDial;
  /** Encrypts what passes; the platform's own when absent. */
  cipher?: MakeFrameCipher;
  /** Connects to what is allowed; the platform's own when absent. A browser has none. */
  connect?: (target: TunnelTarget) => ServeStream;
  allocate?: (bytes: number) => Uint8Array;
  times?: Partial<LegTimes>;
}

export interface TunnelNews {
  tunnel: string;
  host: string;
  port: number;
  /** With `ended`. */
  reason?: string;
}

export interface DeviceTunnelEvents {
  opened(news: TunnelNews): void;
  ended(news: TunnelNews): void;
  /** A stream was refused. */
  refused(news: TunnelNews): void;
}

interface OpenTunnel {
  tunnel: Tunnel;
  target: TunnelTarget;
  /** When the latest command that opened or moved it was issued. */
  issuedAt: number;
  life: ReturnType<typeof setTimeout> | undefined;
}

type Dialing = DeviceTunnelOptions & { dial: LegDial; cipher: MakeFrameCipher };

/** Of the device whose tunnels they are: the keys of tunnels are encrypted for it. */
export type TunnelOwner = Pick<DeviceKeys, 'deviceId' | 'open'>;

/** Creates the tunnels of one device. Throws if an entry of `allow` is invalid. */
export type MakeTunnels = (events: DeviceTunnelEvents) => DeviceTunnels;

/** The longest time a timer takes, milliseconds. */
const TIMER_MAX_MS = 2 ** 31 - 1;

export class DeviceTunnels {
  readonly #options: Dialing;
  readonly #events: DeviceTunnelEvents;
  readonly #allowed: AllowList;
  readonly #open = new Map<string, OpenTunnel>();
  #stopped = false;

  /** Throws if an entry of `allow` is invalid. */
  constructor(options: Dialing, events: DeviceTunnelEvents) {
    this.#options = options;
    this.#events = events;
    this.#allowed = new AllowList(options.allow ?? []);
  }

  get size(): number {
    return this.#open.size;
  }

  /** `tunnel.open`: resolves once this end has joined. Throws `Rejected` for a target that is not allowed. */
  async open(command: Command, owner: TunnelOwner): Promise<Record<string, never>> {
    const { target, ticket, lifeMs, resume, key } = argsOf(command);
    if (this.#stopped) throw new Rejected('the device stops');
    const { issuedAt } = command;
    if (resume) {
      await this.#move(ticket, target, { issuedAt });
      return {};
    }
    const why = this.#whyNot(target);
    if (why !== null) throw new Rejected(why);
    const cipher = await this.#options.cipher(await tunnelKey(key, ticket.tunnel, owner), 'device');
    if (this.#stopped) throw new Rejected('the device stops');
    if (this.#open.has(ticket.tunnel)) await this.#move(ticket, target, { issuedAt, cipher });
    else if (this.#open.size >= (this.#options.maxTunnels ?? 8)) throw new Rejected('too many tunnels');
    else await this.#begin(ticket, target, { lifeMs, cipher, issuedAt });
    return {};
  }

  /**
   * With a `cipher`, both ends go on with a new key (T-15). A program that restarted has none, so without one
   * its tunnels are lost.
   */
  async #move(
    ticket: TunnelTicket,
    target: TunnelTarget,
    { issuedAt, cipher }: { issuedAt: number; cipher?: FrameCipher },
  ): Promise<void> {
    const known = this.#open.get(ticket.tunnel);
    if (!known) throw new Rejected('no such tunnel here');
    if (known.target.host !== target.host || known.target.port !== target.port) {
      throw new Rejected('the tunnel leads elsewhere');
    }
    // Commands may overtake each other (D-2).
    const isLater = cipher ? issuedAt > known.issuedAt : issuedAt >= known.issuedAt;
    if (!isLater) throw new Rejected('the tunnel is open already');
    known.issuedAt = issuedAt;
    await known.tunnel.moveTo(ticket, cipher);
  }

  /** `tunnel.close` */
  close(command: Command): { wasOpen: boolean } {
    const { tunnel, reason } = (command.args ?? {}) as { tunnel?: unknown; reason?: unknown };
    if (typeof tunnel !== 'string') throw new Rejected('arguments: tunnel is needed');
    return { wasOpen: this.#end(tunnel, typeof reason === 'string' ? reason : 'closed') };
  }

  /** All tunnels end. `abrupt`: as if the program had been killed. */
  stop(abrupt = false): void {
    this.#stopped = true;
    for (const [id, { tunnel }] of [...this.#open]) {
      if (abrupt) tunnel.abandon();
      this.#end(id, 'device-left');
    }
  }

  async #begin(
    ticket: TunnelTicket,
    target: TunnelTarget,
    { lifeMs, cipher, issuedAt }: { lifeMs: number; cipher: FrameCipher; issuedAt: number },
  ): Promise<void> {
    const { dial, allocate, times } = this.#options;
    const news = { tunnel: ticket.tunnel, ...target };
    const tunnel = new Tunnel(
      ticket,
      {
        side: 'device',
        dial,
        cipher,
        accept: (asked) => this.#accept(asked, target, news),
        ...(allocate ? { allocate } : {}),
        ...(times ? { times } : {}),
      },
      {
        ended: (reason) => {
          this.#forget(ticket.tunnel);
          this.#events.ended({ ...news, reason });
        },
      },
    );
    const entry: OpenTunnel = { tunnel, target, issuedAt, life: undefined };
    this.#open.set(ticket.tunnel, entry);
    // The gateway enforces it as well, but the device does not rely on gateways.
    entry.life = setTimeout(() => this.#end(ticket.tunnel, 'life'), Math.min(lifeMs, TIMER_MAX_MS));
    await tunnel.start();
    this.#events.opened(news);
  }

  /** Checks every stream, whatever the operator's end asks for. */
  #accept(asked: TunnelTarget, target: TunnelTarget, news: TunnelNews): ServeStream | Refusal {
    const same = asked.host === target.host && asked.port === target.port;
    const why = same ? this.#whyNot(asked) : 'this tunnel leads elsewhere';
    if (why !== null) {
      this.#events.refused({ ...news, ...asked, reason: why });
      return { code: 'refused', reason: why };
    }
    const serve = this.#options.serve?.(asked) ?? this.#options.connect?.(asked);
    return serve ?? { code: 'refused', reason: 'nothing is served here' };
  }

  #whyNot(target: TunnelTarget): string | null {
    const { host, port } = target;
    if (this.#options.serve?.(target)) return null;
    if (this.#allowed.allows(host, port) && this.#options.connect) return null;
    return `this device does not allow tunnels to ${host} port ${port}`;
  }

  #end(id: string, reason: string): boolean {
    const entry = this.#open.get(id);
    if (!entry) return false;
    this.#forget(id);
    entry.tunnel.close(reason);
    this.#events.ended({ tunnel: id, ...entry.target, reason });
    return true;
  }

  #forget(id: string): void {
    clearTimeout(this.#open.get(id)?.life);
    this.#open.delete(id);
  }
}

/** T-15 */
async function tunnelKey(text: unknown, tunnel: string, owner: TunnelOwner): Promise<Uint8Array> {
  const key = await owner.open('wrap', wrappedOf(text), sealedTunnelBytes(owner.deviceId, tunnel));
  if (key === null) throw new Rejected('arguments: key does not open with the secret of this device');
  return key;
}

function wrappedOf(text: unknown): Encrypted {
  const { sealNonceBytes, sealTagBytes } = LIMITS;
  try {
    const bytes = fromBase64url(text, sealNonceBytes + TUNNEL_LIMITS.keyBytes + sealTagBytes);
    return { nonce: bytes.subarray(0, sealNonceBytes), ct: bytes.subarray(sealNonceBytes) };
  } catch {
    throw new Rejected('arguments: key is needed');
  }
}

/** The server signed the arguments, but they may still be malformed. */
function argsOf({ args }: Command): {
  target: TunnelTarget;
  ticket: TunnelTicket;
  lifeMs: number;
  resume: boolean;
  key: unknown;
} {
  const { tunnel, gateway, worker, ticket, host, port, lifeMs, resume, key } = (args ?? {}) as Record<
    string,
    unknown
  >;
  const { name, url } = (gateway ?? {}) as Record<string, unknown>;
  const text = (value: unknown, what: string, most: number): string => {
    if (typeof value === 'string' && value !== '' && value.length <= most) return value;
    throw new Rejected(`arguments: ${what} is needed`);
  };
  const whole = (value: unknown, what: string, least: number, most: number): number => {
    if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
    throw new Rejected(`arguments: ${what} is needed`);
  };
  const address = { name: text(name, 'gateway.name', 64), url: text(url, 'gateway.url', 512) };
  if (!/^wss?:\/\//.test(address.url)) throw new Rejected('arguments: gateway.url is no WebSocket URL');
  return {
    target: { host: text(host, 'host', TUNNEL_LIMITS.hostLength), port: whole(port, 'port', 1, 65_535) },
    ticket: {
      tunnel: text(tunnel, 'tunnel', 64),
      gateway: address,
      worker: whole(worker, 'worker', 0, 1_023),
      ticket: text(ticket, 'ticket', TUNNEL_LIMITS.secretLength),
    },
    lifeMs: whole(lifeMs, 'lifeMs', 1, Number.MAX_SAFE_INTEGER),
    resume: resume === true,
    key,
  };
}
