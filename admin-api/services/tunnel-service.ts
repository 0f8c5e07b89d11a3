import { randomBytes } from 'node:crypto';
import type { Lease } from '../../bus/bus.ts';
import { sealedTunnelBytes, TUNNEL_LIMITS } from '../../protocol/index.ts';
import { type PlacementParts, readFleet } from '../balance/placement.ts';
import type { DeviceSecrets } from '../device-secrets.ts';
import { plainText } from '../identifiers.ts';
import { Problem } from '../problems.ts';
import { sortableId } from '../sortable-id.ts';
import type { Device, Role, Tunnel } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import { chooseWorker } from '../tunnels/choose-worker.ts';
import { checkRight, tunnelHost } from '../tunnels/targets.ts';
import type { TunnelCloser, TunnelCloserParts } from '../tunnels/tunnel-closer.ts';
import { addTunnelCommand } from '../tunnels/tunnel-commands.ts';
import { recordTunnel } from '../tunnels/tunnel-record.ts';
import { grantOf, joinOf, type NewTurn, newTurn, openArgs, type TunnelJoin } from '../tunnels/tunnel-turn.ts';
import { unknownDevice } from './device-service.ts';

/** Longest part of a refused request that is recorded unchecked, characters. */
const MAX_WISH = 256;

export interface TunnelSettings {
  /** Most live tunnels. */
  perDevice: number;
  perOperator: number;
  /** Longest time without a byte in either direction, milliseconds. */
  idleMs: number;
  /** Longest life, milliseconds. */
  lifeMs: number;
  /** Most bytes in both directions together at one gateway; 0 for no limit. */
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

/** `join` is `null` for a tunnel that ended at once; its `end` says why. */
export interface OpenedTunnel {
  tunnel: Tunnel;
  join: TunnelJoin | null;
}

export interface TunnelServiceParts extends TunnelCloserParts {
  tunnelCloser: TunnelCloser;
  secrets: DeviceSecrets;
  directory: PlacementParts['directory'];
  leases: { list(): readonly Lease[] };
}

/**
 * Opens, moves and closes tunnels. A tunnel that cannot open says why in its own record: if the device is
 * offline or there is no gateway, it has ended at once. Missing rights and limits are refused and audited.
 * Every method throws `Problem`.
 */
export class TunnelService {
  readonly #parts: TunnelServiceParts;
  readonly #settings: TunnelSettings;

  constructor(parts: TunnelServiceParts, settings: TunnelSettings) {
    this.#parts = parts;
    this.#settings = settings;
  }

  /** Records that somebody without the right requested this. The request is unchecked. */
  async refuse(caller: TunnelCaller, wish: Readonly<Record<string, unknown>>): Promise<void> {
    // The request is not validated: only text and numbers are recorded.
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
    const key = newKey();
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
        if (turn) await this.#commandDevice(tx, tunnel, turn, { device, key, at });
        return tunnel;
      }),
    );
    this.#parts.hub.notify();
    if (!turn) {
      this.#parts.tunnelCloser.count([tunnel]);
      return { tunnel, join: null };
    }
    return this.#begin(tunnel, turn, { key, at });
  }

  /**
   * Moves the tunnel to another gateway with new tickets, for the operator who opened it: its gateway leaves
   * or can no longer be reached. Streams and bytes in flight continue.
   */
  async move(id: string, caller: TunnelCaller): Promise<OpenedTunnel> {
    const { store, now } = this.#parts;
    const tunnel = await this.#get(id);
    await this.#audited(tunnel, caller, async () => {
      if (caller.tokenId !== tunnel.createdBy) {
        throw new Problem('forbidden', 'Only the token that opened a tunnel may move it.');
      }
      // The token may have had a higher role when it opened the tunnel.
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
    // A device that has not joined may have restarted: no counter may be used twice with one key (T-14).
    const key = tunnel.state === 'open' ? null : newKey();
    const moved = await store.transaction(async (tx) => {
      const moved = await tx.tunnels.move(id, tunnel.turn, turn.turn, at);
      if (!moved) throw new Problem('conflict', 'The tunnel ended or was moved at the same moment.');
      await recordTunnel(tx, at, caller.tokenId, 'tunnel.moved', moved, { from: tunnel.at?.gateway });
      await this.#commandDevice(tx, moved, turn, { device, key, at });
      return moved;
    });
    this.#parts.hub.notify();
    return this.#begin(moved, turn, { key, at });
  }

  /**
   * Ends the tunnel; one that has ended stays as it is. `forged`: the operator's end noticed tampering, which
   * a gateway may not have reported.
   */
  async close(id: string, caller: TunnelCaller, code: 'closed' | 'forged' = 'closed'): Promise<Tunnel> {
    const { at } = await this.#get(id);
    const reason =
      code === 'closed'
        ? 'An operator closed it.'
        : "The operator's end found that what passed was changed, repeated or made up on the way" +
          `${at ? ` through gateway ${at.gateway}` : ''}.`;
    const [ended] = await this.#parts.tunnelCloser.end([{ id, code, reason }], caller.tokenId);
    return ended ?? this.#get(id);
  }

  async #get(id: string): Promise<Tunnel> {
    const tunnel = await this.#parts.store.tunnels.get(id);
    if (!tunnel) throw new Problem('not-found', `There is no tunnel ${id}.`);
    return tunnel;
  }

  /** The worker for the tunnel, or why there is none. */
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
    return { end: null, turn: newTurn(chosen, at) };
  }

  async #commandDevice(
    tx: Store,
    tunnel: Tunnel,
    next: NewTurn,
    { device, key, at }: { device: Device; key: Uint8Array | null; at: number },
  ): Promise<void> {
    const about = sealedTunnelBytes(device.id, tunnel.id);
    const wrapped = key && (await this.#parts.secrets.wrap(device, key, about));
    await addTunnelCommand(tx, {
      id: next.turn.commandId,
      type: 'tunnel.open',
      // A tunnel is needed now, so an offline device does not open it later. One whose tunnel moves may be
      // changing gateways itself.
      offline: tunnel.turn > 1 ? 'queue' : 'skip',
      args: openArgs(tunnel, next, { wrapped, at }),
      device: tunnel.deviceId,
      createdBy: tunnel.createdBy,
      at,
    });
  }

  /** The worker first, so that it knows the tickets before anybody uses one. */
  async #begin(
    tunnel: Tunnel,
    next: NewTurn,
    { key, at }: { key: Uint8Array | null; at: number },
  ): Promise<OpenedTunnel> {
    const { dispatcher, tunnelCloser } = this.#parts;
    const { turn } = next;
    const grant = grantOf(tunnel, next, { ...this.#settings, at });
    const told = await tunnelCloser.deliver(turn.incarnation, { devices: [], tunnel: grant });
    if (!told) {
      const reason = `Gateway ${turn.gateway} could not be reached.`;
      const ends = [{ id: tunnel.id, onTurn: tunnel.turn, code: 'no-gateway', reason }];
      await tunnelCloser.end(ends, 'system');
      return { tunnel: await this.#get(tunnel.id), join: null };
    }
    dispatcher.wake([tunnel.deviceId]);
    return { tunnel, join: joinOf(next, key) };
  }

  #full(which: 'device-full' | 'operator-full'): Problem {
    const { perDevice, perOperator } = this.#settings;
    const detail =
      which === 'device-full'
        ? `There are ${perDevice} tunnels to this device already; close one.`
        : `You have ${perOperator} tunnels already; close one.`;
    return new Problem('too-many-requests', detail);
  }

  /** Refusals are recorded with the request and the caller. */
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

function newKey(): Uint8Array {
  return randomBytes(TUNNEL_LIMITS.keyBytes);
}

function wordOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}
