/** One leg at its relay: checks its messages (T-2 to T-5) and passes its frames to its tunnel. */
import {
  decodeLegMessage,
  type LegMessage,
  TUNNEL_CLOSE,
  TunnelError,
  type TunnelJoin,
  type TunnelResume,
  type TunnelSide,
} from '../../protocol/index.ts';
import type { GatewayTunnel } from './gateway-tunnel.ts';
import type { Leg, LegInput } from './leg.ts';

/** Time for the first message. */
const JOIN_MS = 10_000;
/** Most text messages of one leg between two pings; an honest leg never sends more. */
const TEXTS_PER_PING = 500;

/** The first message of a leg. */
export type JoinMessage = TunnelJoin | TunnelResume;

export interface LegSessionHooks {
  entry(entry: JoinMessage): void;
  joined(): void;
  gone(): void;
  pingMs: number;
}

/** The messages of one leg, from its first to its end. */
export class LegSession implements LegInput {
  readonly leg: Leg;
  readonly #hooks: LegSessionHooks;
  #tunnel: GatewayTunnel | null = null;
  #side: TunnelSide = 'operator';
  #state: 'new' | 'asked' | 'joined' | 'confirmed' | 'closed' = 'new';
  #texts = 0;
  #heard = true;
  #missed = 0;
  #since = performance.now();
  wasJoined = false;

  constructor(leg: Leg, hooks: LegSessionHooks) {
    this.leg = leg;
    this.#hooks = hooks;
  }

  join(tunnel: GatewayTunnel, side: TunnelSide): void {
    this.#tunnel = tunnel;
    this.#side = side;
    this.#state = 'joined';
    this.#since = performance.now();
    this.wasJoined = true;
    this.#hooks.joined();
  }

  unjoin(): void {
    this.#tunnel = null;
    if (this.#state !== 'closed') this.#state = 'asked';
  }

  frame(bytes: Uint8Array): void {
    if (this.#tunnel === null) {
      if (this.#state !== 'closed') this.#refuse('T-2: a frame before joined');
      return;
    }
    this.#heard = true;
    if (this.#state === 'joined') this.#confirm(this.#tunnel);
    this.#tunnel.pass(this.#side, bytes);
  }

  text(text: string): void {
    this.#heard = true;
    if (++this.#texts > TEXTS_PER_PING) {
      this.#refuse('T-5: too many messages');
      return;
    }
    let message: LegMessage | null;
    try {
      message = decodeLegMessage(text);
    } catch (error) {
      if (!(error instanceof TunnelError)) throw error;
      this.#refuse(error.message);
      return;
    }
    if (this.#state === 'new') {
      if (message?.t !== 'join' && message?.t !== 'resume') {
        this.#refuse('T-2: not a join');
        return;
      }
      this.#state = 'asked';
      this.#hooks.entry(message);
      return;
    }
    if (this.#tunnel === null) {
      this.#refuse('T-2: a message before joined');
      return;
    }
    if (this.#state === 'joined') this.#confirm(this.#tunnel);
    this.#say(message, this.#tunnel);
  }

  closed(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    const tunnel = this.#tunnel;
    this.#tunnel = null;
    this.#hooks.gone();
    tunnel?.left(this.#side, this.leg);
  }

  /** T-5: pings the leg, and ends it after too many missed answers. */
  look(): void {
    const now = performance.now();
    if (this.#tunnel === null) {
      if (now - this.#since > JOIN_MS) this.leg.close(TUNNEL_CLOSE.joinTimeout, 'T-2: no join in time');
      return;
    }
    if (now - this.#since < this.#hooks.pingMs) return;
    this.#since = now;
    this.#texts = 0;
    this.#missed = this.#heard ? 0 : this.#missed + 1;
    this.#heard = false;
    if (this.#missed >= 2) this.leg.close(TUNNEL_CLOSE.silent, 'T-5: nothing heard');
    else this.leg.say({ t: 'ping' });
  }

  /** T-3, T-4: it received `joined`. */
  #confirm(tunnel: GatewayTunnel): void {
    this.#state = 'confirmed';
    tunnel.confirmed(this.#side);
  }

  #say(message: LegMessage | null, tunnel: GatewayTunnel): void {
    switch (message?.t) {
      case 'ping':
        this.leg.say({ t: 'pong' });
        return;
      case 'stats':
        if (this.#side === 'device') tunnel.streams(message.streams);
        return;
      case 'end':
        tunnel.end(message.reason, this.#side);
        return;
      case 'join':
      case 'resume':
        this.#refuse('T-2: a second join');
    }
  }

  #refuse(reason: string): void {
    this.leg.close(TUNNEL_CLOSE.protocolError, reason);
  }
}
