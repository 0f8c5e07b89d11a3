import { setTimeout as pause } from 'node:timers/promises';
import { groupCreated, groupDeleted, groupMoved } from '../directory/list-record.ts';
import { newId } from '../identifiers.ts';
import { Problem } from '../problems.ts';
import { type Group, ROOT_GROUP } from '../store/records.ts';
import { type Expected, recordChange, renewMemberships, type ServiceParts } from './service-parts.ts';

const CHUNK = 500;
/** A thousand a second. */
const MS_PER_DEVICE_SENT_AWAY = 1;

/** Operators' changes of groups. Every method throws `Problem`; the store enforces the rules of the tree. */
export class GroupService {
  readonly #parts: ServiceParts;
  readonly #renewals = new Set<Promise<void>>();
  #stopping = false;

  constructor(parts: ServiceParts) {
    this.#parts = parts;
  }

  /** Waits for renewals of memberships in progress; the others follow at the devices' next connect. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#renewals);
  }

  async create(
    request: { name: string; parentId?: string; id?: string },
    actor: string,
  ): Promise<Group & { devices: number }> {
    const { store, now, hub, directory } = this.#parts;
    const id = request.id ?? newId('g');
    const parentId = request.parentId ?? ROOT_GROUP;
    const group = await store.transaction(async (tx) => {
      const at = now();
      const created = await tx.groups.create({ id, parentId, name: request.name, createdAt: at });
      await groupCreated(tx.meta, at);
      const event = { id, name: request.name, parentId };
      await recordChange(tx, at, actor, 'group.created', id, event, event);
      return created;
    });
    hub.notify();
    directory.gatewaysChangedSoon();
    return { ...group, devices: 0 };
  }

  /** `expected` throws if the group has changed meanwhile, here and in all other services. */
  async change(
    id: string,
    change: { name?: string; parentId?: string },
    actor: string,
    expected?: Expected<Group>,
  ): Promise<Group> {
    const { store, now, hub } = this.#parts;
    const { group, moved } = await store.transaction(async (tx) => {
      const before = await tx.groups.getForChange(id);
      if (!before) throw unknownGroup(id);
      expected?.(before);
      const at = now();
      const parentId = change.parentId ?? before.parentId;
      if (parentId !== null && parentId !== before.parentId) {
        await tx.groups.move(id, parentId, change.name);
        await groupMoved(tx.meta, id, at);
      } else if (change.name !== undefined) await tx.groups.rename(id, change.name);
      if (change.name !== undefined && change.name !== before.name) {
        const detail = { name: change.name, before: before.name };
        await recordChange(tx, at, actor, 'group.renamed', id, detail, { id, name: change.name });
      }
      if (change.parentId !== undefined && change.parentId !== before.parentId) {
        const detail = { parentId: change.parentId, before: before.parentId };
        await recordChange(tx, at, actor, 'group.moved', id, detail, { id, parentId: change.parentId });
      }
      const group = (await tx.groups.get(id)) ?? before;
      return { group, moved: group.parentId !== before.parentId };
    });
    hub.notify();
    if (moved) this.#renewLater(id);
    if (moved) this.#parts.directory.gatewaysChangedSoon();
    return group;
  }

  async delete(id: string, actor: string, expected?: Expected<Group>): Promise<void> {
    const { store, now, hub, directory } = this.#parts;
    await store.transaction(async (tx) => {
      const at = now();
      const before = await tx.groups.getForChange(id);
      if (before) expected?.(before);
      const outcome = await tx.groups.delete(id);
      if (outcome === 'unknown') throw unknownGroup(id);
      if (outcome === 'not-empty') {
        throw new Problem(
          'not-empty',
          `Group ${id} still has subgroups, devices, gateways or usable enrolment tokens; move or ` +
            'delete them first.',
        );
      }
      await groupDeleted(tx.meta, id, at);
      await recordChange(tx, at, actor, 'group.deleted', id, {}, { id });
    });
    hub.notify();
    directory.gatewaysChangedSoon();
  }

  /** Every device below gets a new membership; there may be very many, so nobody waits for that. */
  #renewLater(group: string): void {
    const renewal = this.#renew(group)
      .catch((error) => this.#parts.log.warn({ err: error, group }, 'memberships not renewed yet'))
      .finally(() => this.#renewals.delete(renewal));
    this.#renewals.add(renewal);
  }

  async #renew(group: string): Promise<void> {
    let cursor: string | undefined;
    do {
      const page = await this.#parts.store.devices.list({ group }, { limit: CHUNK, cursor });
      const ids = page.items.map((device) => device.id);
      const sentAway = await renewMemberships(this.#parts, ids);
      cursor = page.next ?? undefined;
      // They would all reach other gateways at once.
      if (cursor !== undefined) await pause(sentAway * MS_PER_DEVICE_SENT_AWAY);
    } while (cursor !== undefined && !this.#stopping);
  }
}

export function unknownGroup(id: string): Problem {
  return new Problem('not-found', `There is no group ${id}.`);
}
