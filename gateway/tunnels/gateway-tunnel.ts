/**
 * One tunnel at its worker: who may join, which two legs are joined, how much passed between them, and when
 * it is over. It neither parses nor stores frames.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { TunnelEvent, TunnelGrant } from '../../bus/bus.ts';
import {
  TUNNEL_CLOSE,
  TUNNEL_SIDES,
  type TunnelJoin,
  type TunnelRefusal,
  type TunnelResume,
  type TunnelSide,
} from '../../protocol/index.ts';
import type { Leg } from './leg.ts';

export interface TunnelReport {
  event: TunnelEvent;
  side?: TunnelSide;
  reason?: string;
  address?: string;
}

export interface GatewayTunnelParts {
  /** How long to wait for a dropped side, milliseconds. */
  holdMs: number;
  report(tunnel: GatewayTunnel, report: TunnelReport): void;
  /** The tunnel is over and can be forgotten. */
  ended(tunnel: GatewayTunnel, reason: string): void;
  /** Milliseconds since the Unix epoch. */
  now(): number;
}

interface Side {
  leg: Leg | null;
  ticketHash: Uint8Array;
  ticketUsed: boolean;
  /**
   * The leg that used the ticket has sent a message since: it received `joined` and no longer needs the
   * ticket (T-3).
   */
  ticketSpent: boolean;
  /**
   * Hash of the resume secret; the previous one is valid until the leg has shown that it got the new one
   * (T-4).
   */
  secretHash: Uint8Array | null;
  previousHash: Uint8Array | null;
  /** When its leg went away. */
  leftAt: number;
}

/** Refused attempts that are reported for each tunnel. */
const REFUSALS_REPORTED = 10;

export class GatewayTunnel {
  #grant: TunnelGrant;
  readonly #parts: GatewayTunnelParts;
  readonly #sides: Record<TunnelSide, Side>;
  #startedAt: number;
  #pair = 0;
  #bytesUp = 0;
  #bytesDown = 0;
  #bytesReported = 0;
  #reportedAt: number;
  #bytesSeen = 0;
  #activeAt: number;
  #streams = 0;
  #refusals = 0;
  #moveBy: number | null = null;
  #over = false;

  constructor(grant: TunnelGrant, parts: GatewayTunnelParts) {
    this.#grant = grant;
    this.#parts = parts;
    const now = parts.now();
    this.#startedAt = now;
    this.#activeAt = now;
    this.#reportedAt = now;
    this.#sides = { operator: newSide(grant.operatorHash), device: newSide(grant.deviceHash) };
  }

  get id(): string {
    return this.#grant.id;
  }

  get device(): string {
    return this.#grant.device;
  }

  get figures(): { bytesUp: number; bytesDown: number; streams: number } {
    return { bytesUp: this.#bytesUp, bytesDown: this.#bytesDown, streams: this.#streams };
  }

  get bufferedBytes(): number {
    return TUNNEL_SIDES.reduce((sum, side) => sum + (this.#sides[side].leg?.bufferedBytes ?? 0), 0);
  }

  /** New tickets for an existing tunnel. */
  renew(grant: TunnelGrant): void {
    const same = Buffer.from(grant.operatorHash).equals(this.#grant.operatorHash);
    this.#grant = grant;
    this.#startedAt = this.#parts.now();
    this.#moveBy = null;
    // The same grant again (an outbox may be read twice).
    if (same) return;
    for (const side of TUNNEL_SIDES) {
      const { leg, leftAt } = this.#sides[side];
      const hash = side === 'device' ? grant.deviceHash : grant.operatorHash;
      this.#sides[side] = { ...newSide(hash), leg, leftAt };
    }
  }

  /** Joins the leg as `side`, or returns why not. Sends the answer with the resume secret. */
  enter(message: TunnelJoin | TunnelResume, leg: Leg): TunnelRefusal | null {
    const { side: name } = message;
    const side = this.#sides[name];
    const refusal = message.t === 'join' ? this.#checkTicket(side, message) : checkSecret(side, message);
    if (refusal !== null) {
      if (this.#refusals++ < REFUSALS_REPORTED) {
        this.#parts.report(this, { event: 'refused', side: name, reason: refusal, address: leg.address });
      }
      return refusal;
    }
    const secret = randomBytes(32).toString('base64url');
    const event = message.t === 'join' && !side.ticketUsed ? 'joined' : 'resumed';
    if (message.t === 'join') {
      side.ticketUsed = true;
      side.previousHash = null;
    } else {
      side.previousHash = sha256(message.secret);
    }
    side.secretHash = sha256(secret);
    this.#replaceLeg(name, leg);
    const { idleMs, maxBytes } = this.#grant;
    const lifeMs = Math.max(0, this.#startedAt + this.#grant.lifeMs - this.#parts.now());
    leg.say({ t: 'joined', resume: secret, idleMs, lifeMs, maxBytes });
    this.#parts.report(this, { event, side: name, address: leg.address });
    this.#tellPeers(name);
    if (this.#moveBy !== null)
      leg.say({ t: 'move', withinMs: Math.max(0, this.#moveBy - this.#parts.now()) });
    return null;
  }

  /** The first message of a leg after `joined`: it has the new secret. */
  confirmed(name: TunnelSide): void {
    const side = this.#sides[name];
    side.previousHash = null;
    // Not a newer one for another leg (`renew`).
    side.ticketSpent = side.ticketUsed;
  }

  /** The leg closed. */
  left(name: TunnelSide, leg: Leg): void {
    const side = this.#sides[name];
    if (this.#over || side.leg !== leg) return;
    side.leg = null;
    side.leftAt = this.#parts.now();
    this.#parts.report(this, { event: 'left', side: name });
    this.#sides[otherSide(name)].leg?.say({ t: 'peer', here: false, pair: this.#pair });
  }

  /** Forwards a message from `name` to the other side; dropped when that is away. */
  pass(name: TunnelSide, bytes: Uint8Array): void {
    const other = this.#sides[name === 'device' ? 'operator' : 'device'].leg;
    if (other === null) return;
    if (name === 'device') this.#bytesUp += bytes.length;
    else this.#bytesDown += bytes.length;
    other.frame(bytes);
    const { maxBytes } = this.#grant;
    if (maxBytes > 0 && this.#bytesUp + this.#bytesDown > maxBytes) this.end('bytes');
  }

  streams(count: number): void {
    this.#streams = count;
  }

  /** Checks all time limits. */
  look(countersMs: number): void {
    if (this.#over) return;
    const now = this.#parts.now();
    const bytes = this.#bytesUp + this.#bytesDown;
    if (bytes !== this.#bytesSeen) this.#activeAt = now;
    this.#bytesSeen = bytes;
    const reason = this.#timeUp(now);
    if (reason !== null) {
      this.end(reason);
      return;
    }
    if (now - this.#reportedAt < countersMs || bytes === this.#bytesReported) return;
    this.#bytesReported = bytes;
    this.#reportedAt = now;
    this.#parts.report(this, { event: 'counters' });
  }

  /** The gateway is leaving: both ends have this long to move. */
  move(withinMs: number): void {
    if (this.#moveBy !== null) return;
    this.#moveBy = this.#parts.now() + Math.ceil(withinMs);
    for (const side of TUNNEL_SIDES) this.#sides[side].leg?.say({ t: 'move', withinMs: Math.ceil(withinMs) });
    this.#parts.report(this, { event: 'moving' });
  }

  /** Ends the tunnel: notifies and closes both legs. `by`: the side that asked for it. */
  end(reason: string, by?: TunnelSide): void {
    if (this.#over) return;
    this.#over = true;
    this.#parts.report(this, { event: 'ended', reason, ...(by ? { side: by } : {}) });
    this.#parts.ended(this, reason);
    const leaving = reason === 'gateway-left';
    for (const name of TUNNEL_SIDES) {
      const { leg } = this.#sides[name];
      if (!leg) continue;
      this.#sides[name].leg = null;
      if (!leaving && name !== by) leg.say({ t: 'end', reason });
      leg.close(leaving ? TUNNEL_CLOSE.leaving : TUNNEL_CLOSE.ended, reason);
    }
  }

  #timeUp(now: number): string | null {
    const { joinBy, idleMs, lifeMs } = this.#grant;
    if (this.#moveBy !== null && now >= this.#moveBy) return 'gateway-left';
    for (const name of TUNNEL_SIDES) {
      const side = this.#sides[name];
      if (side.leg) continue;
      const everJoined = side.leftAt > 0;
      if (!everJoined && now >= joinBy) return 'not-joined';
      const waitUntil = side.ticketUsed ? side.leftAt + this.#parts.holdMs : Math.max(joinBy, side.leftAt);
      if (everJoined && now >= waitUntil) return `${name}-left`;
    }
    if (now - this.#startedAt >= lifeMs) return 'life';
    return now - this.#activeAt >= idleMs ? 'idle' : null;
  }

  #checkTicket(side: Side, { ticket }: TunnelJoin): TunnelRefusal | null {
    if (!sameHash(sha256(ticket), side.ticketHash)) return 'bad-ticket';
    if (side.ticketSpent) return 'used-ticket';
    return this.#parts.now() >= this.#grant.joinBy ? 'expired-ticket' : null;
  }

  #replaceLeg(name: TunnelSide, leg: Leg): void {
    const side = this.#sides[name];
    const before = side.leg;
    side.leg = leg;
    before?.close(TUNNEL_CLOSE.replaced, 'a newer leg of this side');
  }

  #tellPeers(joined: TunnelSide): void {
    const leg = this.#sides[joined].leg;
    const other = this.#sides[otherSide(joined)].leg;
    if (!other) {
      leg?.say({ t: 'peer', here: false, pair: this.#pair });
      return;
    }
    this.#pair++;
    this.#activeAt = this.#parts.now();
    for (const each of [other, leg]) each?.say({ t: 'peer', here: true, pair: this.#pair });
  }
}

function newSide(ticketHash: Uint8Array): Side {
  return {
    leg: null,
    ticketHash,
    ticketUsed: false,
    ticketSpent: false,
    secretHash: null,
    previousHash: null,
    leftAt: 0,
  };
}

function otherSide(side: TunnelSide): TunnelSide {
  return side === 'device' ? 'operator' : 'device';
}

function checkSecret(side: Side, { secret }: TunnelResume): TunnelRefusal | null {
  const hash = sha256(secret);
  const good = [side.secretHash, side.previousHash].some((known) => known !== null && sameHash(hash, known));
  return good ? null : 'bad-secret';
}

/** A hash from Redis may have any length; `timingSafeEqual` throws for different lengths. */
function sameHash(hash: Uint8Array, known: Uint8Array): boolean {
  return hash.length === known.length && timingSafeEqual(hash, known);
}

function sha256(text: string): Uint8Array {
  return createHash('sha256').update(text).digest();
}
