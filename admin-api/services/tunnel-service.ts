import { randomBytes } from 'node:crypto';
import type { Lease } from '../../bus/bus.ts';
import { TUNNEL_LIMITS } from '../../protocol/index.ts';
import { type PlacementParts, readFleet } from '../balance/placement.ts';
import { hashSecret, plainText } from '../identifiers.ts';
import { Problem } from '../problems.ts';
import { sortableId } from '../sortable-id.ts';
import type { Device, Role, Tunnel, TunnelTurn } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import { type ChosenWorker, chooseWorker } from '../tunnels/choose-worker.ts';
import { checkRight, tunnelHost } from '../tunnels/targets.ts';
import { addTunnelCommand, newCommandId } from '../tunnels/tunnel-commands.ts';
import type { TunnelEndings, TunnelEndingsParts } from '../tunnels/tunnel-endings.ts';
import { recordTunnel } from '../tunnels/tunnel-record.ts';
import { unknownDevice } from './device-service.ts';

/** Longest part of a wish that is recorded unread, characters. */
const MAX_WISH = 256;

export interface TunnelSettings {
  /** Live at the same time. */
  perDevice: number;
  perOperator: number;
  /** Without a byte either way, milliseconds. */
  idleMs: number;
  /** Longest life, milliseconds. */
  lifeMs: number;
  /** Both ways together on one gateway; 0 for no limit. */
  maxBytes: number;
}

export interface TunnelRequest {
  deviceId: string;
  port: number;
  host?: string;
  reason?: string;
  /** Seconds. */
  timeLimit?: number;
}

export interface TunnelCaller {
  tokenId: string;
  role: Role;
}

/** How the operator's side joins; the ticket is shown this once and good for one minute and one join. */
export interface TunnelJoin {
  gateway: string;
  url: string;
  worker: number;
  ticket: string;
  expiresAt: number;
}

/** `join` is `null` for a tunnel that ended as it began; its `end` says why. */
export interface OpenedTunnel {
  tunnel: Tunnel;
  join: TunnelJoin | null;
}

export interface TunnelServiceParts extends TunnelEndingsParts {
  endings: TunnelEndings;
  directory: PlacementParts['directory'];
  leases: { list(): readonly Lease[] };
}

/** A turn that is about to begin. */
interface NewTurn {
  chosen: ChosenWorker;
  turn: TunnelTurn;
  secrets: { device: string; operator: string };
}

/**
 * Opens, moves and closes tunnels. What keeps a tunnel from being is told in one place, its own record: a
 * device that is away or no gateway gives a tunnel that has ended. A right that is missing and a limit that
 * is reached are refused, and audited. Every method throws `Problem`.
 */
export class TunnelService {
  readonly #parts: TunnelServiceParts;
  readonly #settings: TunnelSettings;

  constructor(parts: TunnelServiceParts, settings: TunnelSettings) {
    this.#parts = parts;
    this.#settings = settings;
  }

  /** Records that somebody without the right wanted this, whatever it was: nobody has looked at it. */
  async refuse(caller: TunnelCaller, wish: Readonly<Record<string, unknown>>): Promise<void> {
    // What was wished for is not validated: anything but text and numbers is left out.
    const text = (name: string) => plainText(wordOf(wish[name]), MAX_WISH, '');
    const { tokenId, role } = caller;
    const subject = text('deviceId') || text('id') || 'none';
    const detail = { host: text('host'), port: text('port'), reason: text('reason'), role, why: 'forbidden' };
    this.#parts.log.warn({ subject, actor: tokenId, ...detail }, 'tunnel refused');
    const at = this.#parts.now();
    await this.#parts.store.audit.append({ at, actor: tokenId, action: 'tunnel.refused', subject, detail });
  }

  async open(request: TunnelRequest, caller: TunnelCaller): Promise<OpenedTunnel> {
    const host = tunnelHost(request.host);
    const target = { ...request, host };
    await this.#audited(target, caller, async () => checkRight(caller.role, target));
    const [device] = await this.#parts.store.devices.withPaths([request.deviceId]);
    if (!device) {
      throw new Problem('unknown-reference', unknownDevice(request.deviceId).message);
    }
    const at = this.#parts.now();
    const lifeMs = Math.min(
      this.#settings.lifeMs,
      request.timeLimit === undefined ? Number.POSITIVE_INFINITY : request.timeLimit * 1000,
    );
    const id = sortableId('u', at);
    const { turn, end } = await this.#place(device, at);
    const { createdBy, reason } = { createdBy: caller.tokenId, reason: request.reason ?? '' };
    const tunnel = await this.#audited(target, caller, () =>
      this.#parts.store.transaction(async (tx) => {
        const made = await tx.tunnels.create(
          {
            ...{ id, deviceId: device.id, host, port: request.port, reason, createdBy, createdAt: at },
            ...{ expiresAt: at + lifeMs, end, at: turn?.turn ?? null },
          },
          this.#settings,
        );
        if (made !== 'created') throw this.#full(made);
        const tunnel = (await tx.tunnels.get(id)) as Tunnel;
        const more = { reason, ...(end && { ended: end.code }) };
        await recordTunnel(tx, at, createdBy, 'tunnel.created', tunnel, more);
        if (turn) await this.#commandDevice(tx, tunnel, turn, { lifeMs, resume: false, at });
        return tunnel;
      }),
    );
    this.#parts.hub.notify();
    if (!turn) {
      this.#parts.endings.count([tunnel]);
      return { tunnel, join: null };
    }
    return this.#begin(tunnel, turn, at);
  }

  /**
   * Goes on at another gateway with new tickets, for the operator who opened it: its gateway leaves, or
   * cannot be reached any more. Streams and bytes under way go with it.
   */
  async move(id: string, caller: TunnelCaller): Promise<OpenedTunnel> {
    const { store, now } = this.#parts;
    const tunnel = await this.#get(id);
    await this.#audited(tunnel, caller, async () => {
      if (caller.tokenId !== tunnel.createdBy) {
        throw new Problem('forbidden', 'Only the token that opened a tunnel may move it.');
      }
      // The role of a token may have been a higher one when it opened the tunnel.
      checkRight(caller.role, tunnel);
    });
    if (tunnel.state === 'ended') throw new Problem('gone', `The tunnel has ended: ${tunnel.end?.reason}`);
    const [device] = await store.devices.withPaths([tunnel.deviceId]);
    if (!device) throw unknownDevice(tunnel.deviceId);
    const at = now();
    const { turn, end } = await this.#place(device, at, tunnel.at?.incarnation);
    if (!turn) {
      throw new Problem('unavailable', `The tunnel cannot go elsewhere now: ${end?.reason}`, 1);
    }
    const moved = await store.transaction(async (tx) => {
      const moved = await tx.tunnels.move(id, tunnel.turn, turn.turn, at);
      if (!moved) throw new Problem('conflict', 'The tunnel ended or was moved at the same moment.');
      await recordTunnel(tx, at, caller.tokenId, 'tunnel.moved', moved, { from: tunnel.at?.gateway });
      await this.#commandDevice(tx, moved, turn, {
        lifeMs: Math.max(1, moved.expiresAt - at),
        resume: tunnel.state === 'open',
        at,
      });
      return moved;
    });
    this.#parts.hub.notify();
    return this.#begin(moved, turn, at);
  }

  /** Ends it for everybody; one that has ended stays as it is. */
  async close(id: string, caller: TunnelCaller): Promise<Tunnel> {
    await this.#get(id);
    const reason = 'An operator closed it.';
    const [ended] = await this.#parts.endings.end([{ id, code: 'closed', reason }], caller.tokenId);
    return ended ?? this.#get(id);
  }

  async #get(id: string): Promise<Tunnel> {
    const tunnel = await this.#parts.store.tunnels.get(id);
    if (!tunnel) throw new Problem('not-found', `There is no tunnel ${id}.`);
    return tunnel;
  }

  /** Where the tunnel goes, or why nowhere. */
  async #place(
    device: Device & { groupPath: string },
    at: number,
    except?: string,
  ): Promise<{ turn: NewTurn; end: null } | { turn: null; end: { code: string; reason: string } }> {
    const { store, bus } = this.#parts;
    const nowhere = (code: string, reason: string) => ({ turn: null, end: { code, reason } });
    if (device.blockedAt !== null) return nowhere('device-blocked', 'The device is blocked.');
    const [holder] = await bus.presence.locate([device.id]);
    if (!holder) return nowhere('device-offline', 'The device is not connected.');
    const [fleet, live] = await Promise.all([readFleet(this.#parts), store.tunnels.liveByIncarnation()]);
    const chosen = chooseWorker(fleet.gateways, live, device, except);
    if (!chosen) {
      return nowhere('no-gateway', 'No gateway that the device may use takes a tunnel at the moment.');
    }
    const { gateway, lease } = chosen;
    return {
      end: null,
      turn: {
        chosen,
        turn: {
          gateway: gateway.name,
          worker: lease.identity.worker,
          incarnation: lease.incarnation,
          commandId: newCommandId(at),
          joinBy: at + TUNNEL_LIMITS.ticketMs,
        },
        secrets: { device: newTicket(), operator: newTicket() },
      },
    };
  }

  #commandDevice(
    tx: Store,
    tunnel: Tunnel,
    { chosen, turn, secrets }: NewTurn,
    { lifeMs, resume, at }: { lifeMs: number; resume: boolean; at: number },
  ): Promise<void> {
    return addTunnelCommand(tx, {
      id: turn.commandId,
      type: 'tunnel.open',
      // A tunnel is wanted now: a device that is away does not open it later. One that has it may be between
      // gateways itself.
      offline: resume ? 'queue' : 'skip',
      args: {
        tunnel: tunnel.id,
        gateway: { name: chosen.gateway.name, url: chosen.gateway.told ?? chosen.gateway.address },
        worker: workerNumber(turn.worker),
        ticket: secrets.device,
        host: tunnel.host,
        port: tunnel.port,
        lifeMs,
        ...(resume && { resume }),
      },
      device: tunnel.deviceId,
      createdBy: tunnel.createdBy,
      at,
    });
  }

  /** The worker first, so that it knows the tickets before anybody comes with one. */
  async #begin(tunnel: Tunnel, { chosen, turn, secrets }: NewTurn, at: number): Promise<OpenedTunnel> {
    const { dispatcher, endings } = this.#parts;
    const told = await endings.deliver(turn.incarnation, {
      devices: [],
      tunnel: {
        id: tunnel.id,
        device: tunnel.deviceId,
        host: tunnel.host,
        port: tunnel.port,
        deviceHash: hashSecret(secrets.device),
        operatorHash: hashSecret(secrets.operator),
        joinBy: turn.joinBy,
        idleMs: this.#settings.idleMs,
        lifeMs: Math.max(1, tunnel.expiresAt - at),
        maxBytes: this.#settings.maxBytes,
      },
    });
    if (!told) {
      const reason = `Gateway ${turn.gateway} could not be reached.`;
      const ends = [{ id: tunnel.id, onTurn: tunnel.turn, code: 'no-gateway', reason }];
      await endings.end(ends, 'system');
      return { tunnel: await this.#get(tunnel.id), join: null };
    }
    dispatcher.wake([tunnel.deviceId]);
    const { gateway } = chosen;
    return {
      tunnel,
      join: {
        gateway: gateway.name,
        url: gateway.told ?? gateway.address,
        worker: workerNumber(turn.worker),
        ticket: secrets.operator,
        expiresAt: turn.joinBy,
      },
    };
  }

  #full(which: 'device-full' | 'operator-full'): Problem {
    const { perDevice, perOperator } = this.#settings;
    const detail =
      which === 'device-full'
        ? `There are ${perDevice} tunnels to this device already; close one.`
        : `You have ${perOperator} tunnels already; close one.`;
    return new Problem('too-many-requests', detail);
  }

  /** What is refused here is recorded with who wanted what. */
  async #audited<T>(
    target: { deviceId: string; host: string; port: number; reason?: string; id?: string },
    { tokenId, role }: TunnelCaller,
    work: () => Promise<T>,
  ): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const { deviceId, host, port, reason, id } = target;
      const detail = { host, port, reason, role, why: error.code, ...(id !== undefined && { tunnel: id }) };
      this.#parts.log.warn({ deviceId, actor: tokenId, ...detail }, 'tunnel refused');
      await this.#parts.store.audit.append({
        ...{ at: this.#parts.now(), actor: tokenId, action: 'tunnel.refused', subject: deviceId, detail },
      });
      throw error;
    }
  }
}

function newTicket(): string {
  return randomBytes(32).toString('base64url');
}

/** Of `gw1/3`, 3. */
function workerNumber(worker: string): number {
  return Number(worker.slice(worker.lastIndexOf('/') + 1)) || 0;
}

function wordOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}
