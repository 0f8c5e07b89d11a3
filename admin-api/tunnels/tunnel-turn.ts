/** A turn of a tunnel at one worker, in the forms for worker, device and operator. */
import { randomBytes } from 'node:crypto';
import type { TunnelGrant } from '../../bus/bus.ts';
import { type Encrypted, TUNNEL_LIMITS } from '../../protocol/index.ts';
import { hashSecret } from '../identifiers.ts';
import type { Tunnel, TunnelTurn } from '../store/records.ts';
import type { ChosenWorker } from './choose-worker.ts';
import { newCommandId } from './tunnel-commands.ts';

/** A turn that is about to begin. */
export interface NewTurn {
  chosen: ChosenWorker;
  turn: TunnelTurn;
  tickets: { device: string; operator: string };
}

/** How the operator's side joins; the ticket is shown once and is good for one join within a minute. */
export interface TunnelJoin {
  gateway: string;
  url: string;
  worker: number;
  ticket: string;
  /** `null` for a tunnel that continues with the key that both ends have. */
  key: Uint8Array | null;
  expiresAt: number;
}

export function newTurn(chosen: ChosenWorker, at: number): NewTurn {
  return {
    chosen,
    turn: {
      gateway: chosen.gateway.name,
      worker: chosen.lease.identity.worker,
      incarnation: chosen.lease.incarnation,
      commandId: newCommandId(at),
      joinBy: at + TUNNEL_LIMITS.ticketMs,
    },
    tickets: { device: newTicket(), operator: newTicket() },
  };
}

/** Arguments of `tunnel.open`. `wrapped`: the key, encrypted for the device; `null`: the tunnel continues. */
export function openArgs(
  tunnel: Tunnel,
  { chosen, turn, tickets }: NewTurn,
  { wrapped, at }: { wrapped: Encrypted | null; at: number },
): Record<string, unknown> {
  return {
    tunnel: tunnel.id,
    gateway: { name: chosen.gateway.name, url: urlOf(chosen) },
    worker: workerNumber(turn.worker),
    ticket: tickets.device,
    host: tunnel.host,
    port: tunnel.port,
    lifeMs: lifeLeft(tunnel, at),
    ...(wrapped ? { key: textOf(wrapped) } : { resume: true }),
  };
}

/** The worker's part: hashes of the tickets, without the key. */
export function grantOf(
  tunnel: Tunnel,
  { turn, tickets }: NewTurn,
  { idleMs, maxBytes, at }: { idleMs: number; maxBytes: number; at: number },
): TunnelGrant {
  return {
    id: tunnel.id,
    device: tunnel.deviceId,
    host: tunnel.host,
    port: tunnel.port,
    deviceHash: hashSecret(tickets.device),
    operatorHash: hashSecret(tickets.operator),
    joinBy: turn.joinBy,
    idleMs,
    lifeMs: lifeLeft(tunnel, at),
    maxBytes,
  };
}

export function joinOf({ chosen, turn, tickets }: NewTurn, key: Uint8Array | null): TunnelJoin {
  return {
    gateway: chosen.gateway.name,
    url: urlOf(chosen),
    worker: workerNumber(turn.worker),
    ticket: tickets.operator,
    key,
    expiresAt: turn.joinBy,
  };
}

/** Arguments of commands are JSON. */
function textOf({ nonce, ct }: Encrypted): string {
  return Buffer.concat([nonce, ct]).toString('base64url');
}

function urlOf({ gateway }: ChosenWorker): string {
  return gateway.told ?? gateway.address;
}

function lifeLeft({ expiresAt }: Tunnel, at: number): number {
  return Math.max(1, expiresAt - at);
}

function newTicket(): string {
  return randomBytes(32).toString('base64url');
}

/** Of `gw1/3`, 3. */
function workerNumber(worker: string): number {
  return Number(worker.slice(worker.lastIndexOf('/') + 1)) || 0;
}
