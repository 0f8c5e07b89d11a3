import { CLOSE, type OtherInstallation } from '../../protocol/index.ts';
import { endAndRecord } from '../outcomes.ts';
import { Problem } from '../problems.ts';
import type { Device } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import {
  type Expected,
  recordChange,
  renewMemberships,
  type ServiceParts,
  writeDirectory,
} from './service-parts.ts';

const CHUNK = 500;
/** How long a returning device is told that it was deleted. */
const REMEMBERED_MS = 90 * 86_400_000;
/** How many old deletions each new one removes. */
const FORGOTTEN_AT_ONCE = 100;

export interface DeviceServiceParts extends ServiceParts {
  /** Marks commands as finished whose last execution became final. */
  outcomes: { commandsMayBeDone(commands: Iterable<string>): Promise<void> };
  finalizer: { soon(): Promise<void> };
  dispatcher: { wake(devices: Iterable<string>): void };
  cloned: { forget(device: string): void };
}

type Departure = { as: 'deleted' | 'split' } | { as: 'moved'; to: OtherInstallation };

/** Operators' changes of devices. Every method throws `Problem`. */
export class DeviceService {
  readonly #parts: DeviceServiceParts;

  constructor(parts: DeviceServiceParts) {
    this.#parts = parts;
  }

  async change(
    id: string,
    change: { name?: string; groupId?: string; blocked?: boolean },
    actor: string,
    expected?: Expected<Device>,
  ): Promise<Device> {
    const { store, now, hub } = this.#parts;
    const { before, after } = await store.transaction(async (tx) => {
      if (change.groupId !== undefined || change.blocked) await tx.groupKeys.hold();
      const before = await tx.devices.getForChange(id);
      if (!before) throw unknownDevice(id);
      expected?.(before);
      await this.#apply(tx, before, change, actor, now());
      return { before, after: (await tx.devices.get(id)) ?? before };
    });
    hub.notify();
    if (after.groupId !== before.groupId) await renewMemberships(this.#parts, [id]);
    if ((after.blockedAt === null) !== (before.blockedAt === null)) await this.#enforceBlock(after);
    return after;
  }

  /** Ends its open executions, those already sent a moment later. All its executions stay recorded. */
  delete(id: string, actor: string, expected?: Expected<Device>): Promise<void> {
    return this.#remove(id, actor, expected, { as: 'deleted' });
  }

  /**
   * For a device with copies: like `delete`, for all of them, and their key cannot enrol again. One of them
   * may enrol with a new key, as another device.
   */
  split(id: string, actor: string, expected?: Expected<Device>): Promise<void> {
    return this.#remove(id, actor, expected, { as: 'split' });
  }

  /** Forgets what is known of its copies, and sends held commands. */
  async release(id: string, actor: string, expected?: Expected<Device>): Promise<Device> {
    const { store, now, hub, cloned, dispatcher } = this.#parts;
    const device = await store.transaction(async (tx) => {
      const before = await tx.devices.getForChange(id);
      if (!before) throw unknownDevice(id);
      expected?.(before);
      await tx.devices.forgetCopies(id);
      await recordChange(tx, now(), actor, 'device.released', id, { name: before.name }, { id });
      return (await tx.devices.get(id)) ?? before;
    });
    hub.notify();
    cloned.forget(id);
    dispatcher.wake([id]);
    return device;
  }

  /**
   * Like `delete`, and tells the device which installation it belongs to from now on (S-8), where it may
   * enrol.
   */
  moveTo(id: string, to: OtherInstallation, actor: string, expected?: Expected<Device>): Promise<void> {
    return this.#remove(id, actor, expected, { as: 'moved', to });
  }

  async #remove(
    id: string,
    actor: string,
    expected: Expected<Device> | undefined,
    how: Departure,
  ): Promise<void> {
    const { store, now, hub, sender, outcomes, cloned } = this.#parts;
    const to = how.as === 'moved' ? how.to : undefined;
    const commands = new Set<string>();
    let forgotten: string[] = [];
    await store.transaction(async (tx) => {
      await tx.groupKeys.hold();
      const device = await (expected ? tx.devices.getForChange(id) : tx.devices.get(id));
      if (!device) throw unknownDevice(id);
      expected?.(device);
      const at = now();
      for (let after = ''; ; ) {
        const open = await tx.executions.openOf(id, CHUNK, after);
        await endAndRecord(tx, open, to ? 'move-to' : 'delete', at);
        for (const { command } of open) commands.add(command);
        after = open.at(-1)?.command ?? '';
        if (open.length < CHUNK) break;
      }
      await tx.devices.delete(id, at, { ...(to && { to }), refuseKey: how.as === 'split' });
      forgotten = await tx.deletedDevices.forget(at - REMEMBERED_MS, FORGOTTEN_AT_ONCE);
      const detail = { name: device.name, groupId: device.groupId, canceled: commands.size };
      if (!to) return recordChange(tx, at, actor, `device.${how.as}`, id, detail, { id });
      const where = { url: to.url, fingerprint: Buffer.from(to.fingerprint).toString('base64url') };
      await recordChange(tx, at, actor, 'device.moved-to', id, { ...detail, ...where }, { id, ...where });
    });
    hub.notify();
    cloned.forget(id);
    await outcomes.commandsMayBeDone(commands);
    await writeDirectory(this.#parts, [id, ...forgotten]);
    const [deleted] = await store.deletedDevices.ofIds([id]);
    const frame = deleted ? this.#parts.directory.deletionFrame(deleted) : null;
    await sender.dismiss(id, frame, CLOSE.unknownDevice, how.as);
    void this.#parts.finalizer.soon();
  }

  async #apply(
    tx: Store,
    before: Device,
    change: { name?: string; groupId?: string; blocked?: boolean },
    actor: string,
    at: number,
  ): Promise<void> {
    const { id } = before;
    if (change.name !== undefined && change.name !== before.name) {
      await tx.devices.rename(id, change.name);
      const detail = { name: change.name, before: before.name };
      await recordChange(tx, at, actor, 'device.renamed', id, detail, { id, name: change.name });
    }
    if (change.groupId !== undefined && change.groupId !== before.groupId) {
      await tx.devices.changeGroup(id, change.groupId);
      const detail = { groupId: change.groupId, before: before.groupId };
      await recordChange(tx, at, actor, 'device.moved', id, detail, { id, groupId: change.groupId });
    }
    if (change.blocked !== undefined && change.blocked !== (before.blockedAt !== null)) {
      await tx.devices.setBlocked(id, change.blocked ? at : null);
      const action = change.blocked ? 'device.blocked' : 'device.unblocked';
      await recordChange(tx, at, actor, action, id, {}, { id });
    }
  }

  /** The directory comes first, so that a device that was sent away is not admitted again. */
  async #enforceBlock({ id, blockedAt }: Device): Promise<void> {
    const { store, directory, sender, dispatcher } = this.#parts;
    await writeDirectory(this.#parts, [id]);
    if (blockedAt === null) {
      dispatcher.wake([id]);
      return;
    }
    const [device] = await store.devices.withPaths([id]);
    if (device) await sender.dismiss(id, directory.membershipFrame(device), CLOSE.blocked, 'blocked');
  }
}

export function unknownDevice(id: string): Problem {
  return new Problem('not-found', `There is no device ${id}.`);
}
