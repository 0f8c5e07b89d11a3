/**
 * One end's WebSocket to the gateway (T-2 to T-5): joins with a ticket, and after a drop resumes with the
 * secret for as long as the gateway waits. `over` is called exactly once and is the last call.
 */
import {
  decodeLegGatewayMessage,
  encodeTunnelMessage,
  type LegMessage,
  reconnectAdvice,
  TUNNEL_CLOSE,
  TUNNEL_LIMITS,
  TUNNEL_PATH,
  TunnelError,
  type TunnelSide,
} from '../protocol/index.ts';

/** A WebSocket as a leg sees it. */
export interface LegSocket {
  /** One message, in parts that follow each other and must stay unchanged. */
  sendBinary(message: readonly Uint8Array[]): void;
  sendText(text: string): void;
  close(code: number, reason: string): void;
  terminate(): void;
}

export interface LegClosed {
  /** 1006 where there was no close frame. */
  code: number;
  reason: string;
  /** The gateway's machine refused the connection, or the gateway has no tunnels. */
  nobody?: boolean;
}

/** `closed` comes exactly once, and nothing after it. */
export interface LegSocketEvents {
  opened(): void;
  text(text: string): void;
  /** `message` is only valid during the call. */
  binary(message: Uint8Array): void;
  closed(how: LegClosed): void;
}

/** Dials `url` with subprotocol `TUNNEL_SUBPROTOCOL`. */
export type LegDial = (url: string, events: LegSocketEvents) => LegSocket;

/** Where to join, and with what; single use. The ticket is secret. */
export interface TunnelTicket {
  tunnel: string;
  gateway: { name: string; url: string };
  worker: number;
  ticket: string;
}

export interface LegLimits {
  idleMs: number;
  lifeMs: number;
  maxBytes: number;
}

/** Why a leg is over. `reason` is a `TunnelEndReason`, a `TunnelRefusal`, or what the closing side said. */
export interface LegOver {
  reason: string;
  /** The tunnel may go on at another gateway. */
  moving: boolean;
}

export interface LegHooks {
  joined(limits: LegLimits): void;
  /** Whether frames get through to the other end. */
  peer(here: boolean, pair: number): void;
  /** A sealed frame, only valid during the call. */
  binary(message: Uint8Array): void;
  /** The gateway leaves within this many milliseconds. */
  move(withinMs: number): void;
  /** The connection dropped; the leg is reconnecting. */
  dropped(how: LegClosed): void;
  over(how: LegOver): void;
}

export interface LegTimes {
  pingMs: number;
  holdMs: number;
  /**
   * Time limit of one attempt to join, and how long to retry a gateway where nobody listens, milliseconds.
   */
  joinMs: number;
  nobodyMs: number;
}

export const LEG_TIMES: LegTimes = {
  pingMs: TUNNEL_LIMITS.pingMs,
  holdMs: TUNNEL_LIMITS.holdMs,
  joinMs: 10_000,
  nobodyMs: 5_000,
};

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;

type Timer = ReturnType<typeof setTimeout>;

export class TunnelLeg {
  readonly #ticket: TunnelTicket;
  readonly #side: TunnelSide;
  readonly #dial: LegDial;
  readonly #hooks: LegHooks;
  readonly #times: LegTimes;
  readonly #url: string;
  #socket: LegSocket | null = null;
  #joined = false;
  #everJoined = false;
  #secret: string | null = null;
  #over = false;
  /** When it was last joined, milliseconds of the monotonic clock. */
  #awaySince = performance.now();
  #attempts = 0;
  #heard = true;
  #missed = 0;
  #timer: Timer | undefined;
  #pinging: Timer | undefined;

  constructor(
    ticket: TunnelTicket,
    parts: { side: TunnelSide; dial: LegDial; times?: Partial<LegTimes> },
    hooks: LegHooks,
  ) {
    this.#ticket = ticket;
    this.#side = parts.side;
    this.#dial = parts.dial;
    this.#times = { ...LEG_TIMES, ...parts.times };
    this.#hooks = hooks;
    this.#url = new URL(TUNNEL_PATH, ticket.gateway.url).href;
  }

  get joined(): boolean {
    return this.#joined;
  }

  get gateway(): { name: string; url: string } {
    return this.#ticket.gateway;
  }

  start(): void {
    this.#connect();
  }

  /** A sealed frame. Dropped while the leg is not joined: both ends repeat it once they are paired. */
  sendBinary(message: readonly Uint8Array[]): void {
    if (this.#joined) this.#socket?.sendBinary(message);
  }

  say(message: LegMessage): void {
    if (this.#joined) this.#socket?.sendText(encodeTunnelMessage(message));
  }

  /** Leaves for good and sends the gateway the reason; `over` is not called. */
  leave(reason: string): void {
    if (this.#over) return;
    this.say({ t: 'end', reason: reason.slice(0, TUNNEL_LIMITS.reasonLength) });
    this.#end();
    this.#socket?.close(1000, '');
  }

  /** Stops as if the program had been killed: sends nothing, and does not call `over`. */
  abandon(): void {
    this.#end();
    this.#socket?.terminate();
  }

  /** Drops the connection as a bad network would, and reconnects. For tests and for a changed network. */
  drop(): void {
    this.#socket?.terminate();
  }

  #connect(): void {
    let mine = true;
    const isMine = () => mine && !this.#over;
    this.#timer = setTimeout(() => socket.terminate(), this.#times.joinMs);
    const socket = this.#dial(this.#url, {
      opened: () => {
        if (isMine()) socket.sendText(encodeTunnelMessage(this.#hello()));
      },
      text: (text) => {
        if (isMine()) this.#text(text, socket);
      },
      binary: (message) => {
        if (!isMine()) return;
        this.#heard = true;
        this.#hooks.binary(message);
      },
      closed: (how) => {
        const wasMine = isMine();
        mine = false;
        if (wasMine) this.#closed(how);
      },
    });
    this.#socket = socket;
  }

  #hello(): LegMessage {
    const { tunnel, worker, ticket } = this.#ticket;
    const who = { tunnel, worker, side: this.#side };
    if (this.#secret !== null) return { t: 'resume', ...who, secret: this.#secret };
    return { t: 'join', ...who, ticket };
  }

  #text(text: string, socket: LegSocket): void {
    this.#heard = true;
    let message: ReturnType<typeof decodeLegGatewayMessage>;
    try {
      message = decodeLegGatewayMessage(text);
    } catch (error) {
      if (!(error instanceof TunnelError)) throw error;
      socket.close(1002, error.rule);
      this.#finish({ reason: 'protocol', moving: false });
      return;
    }
    switch (message?.t) {
      case 'joined':
        this.#becomeJoined(message);
        return;
      case 'peer':
        if (this.#joined) this.#hooks.peer(message.here, message.pair);
        return;
      case 'ping':
        this.say({ t: 'pong' });
        return;
      case 'move':
        this.#hooks.move(message.withinMs);
        return;
      case 'refused':
        this.#refused(message.reason);
        return;
      case 'end':
        this.#finish({ reason: message.reason, moving: message.reason === 'moved' });
    }
  }

  #becomeJoined({ resume, ...limits }: { resume: string } & LegLimits): void {
    clearTimeout(this.#timer);
    this.#secret = resume;
    this.#joined = true;
    this.#everJoined = true;
    this.#attempts = 0;
    this.#missed = 0;
    clearInterval(this.#pinging);
    this.#pinging = setInterval(() => this.#ping(), this.#times.pingMs);
    // The first message after `joined` shows the gateway that the secret arrived.
    this.say({ t: 'ping' });
    this.#hooks.joined({ idleMs: limits.idleMs, lifeMs: limits.lifeMs, maxBytes: limits.maxBytes });
  }

  #refused(reason: string): void {
    // The gateway did not check the ticket.
    if (reason === 'wrong-worker' || reason === 'busy') return;
    const forgotten = reason === 'unknown-tunnel' && this.#everJoined;
    this.#finish({ reason: forgotten ? 'gateway-lost' : reason, moving: false });
  }

  /** T-5 */
  #ping(): void {
    this.#missed = this.#heard ? 0 : this.#missed + 1;
    this.#heard = false;
    if (this.#missed >= 2) this.#socket?.terminate();
    else this.say({ t: 'ping' });
  }

  #closed(how: LegClosed): void {
    clearTimeout(this.#timer);
    clearInterval(this.#pinging);
    if (this.#joined) this.#awaySince = performance.now();
    const over = this.#verdict(how);
    if (over) {
      this.#finish(over);
      return;
    }
    if (this.#joined) {
      this.#joined = false;
      this.#hooks.peer(false, 0);
      this.#hooks.dropped(how);
    }
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#attempts++);
    this.#timer = setTimeout(() => this.#connect(), longest * (0.5 + Math.random() / 2));
  }

  /** Why dialing again is pointless; `null` when it is worth trying. */
  #verdict({ code, reason, nobody }: LegClosed): LegOver | null {
    if (code === TUNNEL_CLOSE.leaving) return { reason: 'gateway-left', moving: true };
    if (code === TUNNEL_CLOSE.replaced) return { reason: 'replaced', moving: false };
    if (reconnectAdvice(code) === 'slow') return { reason: reason || 'closed', moving: false };
    const awayMs = performance.now() - this.#awaySince;
    const lost = nobody === true && awayMs >= this.#times.nobodyMs;
    if (lost || awayMs >= this.#times.holdMs) {
      return { reason: this.#everJoined ? 'gateway-lost' : 'unreachable', moving: false };
    }
    return null;
  }

  #finish(how: LegOver): void {
    if (this.#over) return;
    const socket = this.#socket;
    if (this.#joined) this.#hooks.peer(false, 0);
    this.#end();
    socket?.close(1000, '');
    this.#hooks.over(how);
  }

  #end(): void {
    this.#over = true;
    this.#joined = false;
    clearTimeout(this.#timer);
    clearInterval(this.#pinging);
  }
}
