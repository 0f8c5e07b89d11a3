import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { DEFAULT_TTL_MS } from '../../protocol/command-defaults.ts';
import { COMMAND_TYPES, type CommandType } from '../../protocol/command-types.ts';
import { encodeValue, LIMITS, OPEN_STATES, SERVER_LIMITS } from '../../protocol/index.ts';
import type { BestEffortSender } from '../best-effort-sender.ts';
import type { CommandFrames } from '../dispatch/command-frames.ts';
import type { Dispatcher } from '../dispatch/dispatcher.ts';
import type { Expander } from '../dispatch/expander.ts';
import type { EventHub } from '../event-hub.ts';
import type { Finalizer } from '../ledger/finalizer.ts';
import { type Outcomes, recordChanges } from '../outcomes.ts';
import { Problem } from '../problems.ts';
import type { SecretCommands } from '../secrets/secret-commands.ts';
import { sortableId } from '../sortable-id.ts';
import { type Command, type CommandTarget, type OfflinePolicy, ROOT_GROUP } from '../store/records.ts';
import type { NewCommand, Store } from '../store/store.ts';
import {
  CommandIntake,
  describeDevices,
  keyConflict,
  onRecord,
  type TakenIn,
  unknownDevices,
} from './command-intake.ts';

/** Most devices that one command may name; use a group for more. */
export const MAX_NAMED_DEVICES = 10_000;
/** A command that names at most this many devices is stored together with others. */
const FEW_DEVICES = 20;
/** Execution rows created before the answer; the rest follow at once. */
const FIRST_CHUNK = 500;
const CANCEL_CHUNK = 1000;
/** How long the answer to a forced cancel waits for the end, and how often it checks. */
const FORCE_PATIENCE_MS = 2_000;
const FORCE_LOOK_MS = 100;

export interface CommandRequest {
  type: CommandType;
  args?: unknown;
  target: { devices: string[] } | { group: string } | { all: true };
  /** Seconds to deliver within. */
  ttl?: number | undefined;
  /** The same as a point in time, RFC 3339. */
  expiresAt?: string | undefined;
  /** Seconds to finish within, from the acknowledgement. */
  timeout?: number | undefined;
  /** `null` disables the type's default collapsing. */
  collapseKey?: string | null | undefined;
  offline?: OfflinePolicy | undefined;
  /** Nobody between the server and the devices may read arguments or results. */
  secret?: boolean | undefined;
  idempotencyKey?: string | undefined;
}

export interface CommandServiceParts {
  store: Store;
  dispatcher: Dispatcher;
  expander: Expander;
  outcomes: Outcomes;
  finalizer: Pick<Finalizer, 'soon'>;
  sender: BestEffortSender;
  frames: CommandFrames;
  secretCommands: SecretCommands;
  hub: EventHub;
  now: () => number;
}

/**
 * Accepts commands and requests to cancel them. What it has answered is in the store, which is all that later
 * steps need.
 */
export class CommandService {
  readonly #parts: CommandServiceParts;
  readonly #intake: CommandIntake;

  constructor(parts: CommandServiceParts) {
    this.#parts = parts;
    this.#intake = new CommandIntake(parts);
  }

  /**
   * Throws `Problem`: past-expiry, unknown-reference, bad-request, too-large, idempotency-conflict,
   * unavailable.
   */
  async create(request: CommandRequest, actor: string): Promise<TakenIn> {
    const now = this.#parts.now();
    const target = toTarget(request.target);
    const command = toCommand(request, target, { actor, now, secretCommands: this.#parts.secretCommands });
    if ('devices' in target && target.devices.length <= FEW_DEVICES) {
      return this.#intake.take({ ...command, target });
    }
    return this.#createLarge(command, actor);
  }

  async #createLarge(command: NewCommand, actor: string): Promise<TakenIn> {
    const { store, dispatcher, expander, outcomes, hub } = this.#parts;
    const { target, issuedAt: now } = command;
    await this.#refuseUnknown(target);
    const { answer, chunk } = await store.transaction(async (tx) => {
      const answer = await tx.commands.create(await this.#forItsGroup(tx, command));
      if (!('created' in answer)) return { answer, chunk: null };
      const chunk = await tx.commands.expand(command.id, FIRST_CHUNK, now);
      await recordChanges(
        tx,
        chunk.superseded.map((row) => ({ ...row, state: 'superseded' as const })),
        now,
      );
      await tx.events.append([
        { at: now, type: 'command.created', data: { id: command.id, type: command.type } },
      ]);
      await tx.audit.append({
        at: now,
        actor,
        action: 'command.create',
        subject: command.id,
        detail: { type: command.type, target: describeTarget(target) },
      });
      return { answer, chunk };
    });
    if ('conflict' in answer) throw keyConflict(answer.conflict);
    const id = 'existing' in answer ? answer.existing : command.id;
    if (chunk) {
      dispatcher.wake(chunk.queued);
      if (!chunk.done) expander.expand([id]);
      const ended = chunk.superseded.map((row) => row.command);
      if (chunk.done && chunk.queued.length === 0) ended.push(id);
      if (ended.length > 0) await outcomes.commandsMayBeDone(ended);
      else hub.notify();
    }
    return onRecord(store, id, 'existing' in answer);
  }

  /** X-4: with the group's key at the time of storing. */
  async #forItsGroup(tx: Store, command: NewCommand): Promise<NewCommand> {
    const { id, secret, target, issuedAt: at } = command;
    if (!secret || !('group' in target)) return command;
    const { group } = target;
    return { ...command, secret: await this.#parts.secretCommands.forGroup(tx, id, secret, { group, at }) };
  }

  /**
   * Executions that were never sent are canceled at once. Those that were sent and not acknowledged are
   * canceled once it is certain that the device reported nothing more. Acknowledged ones are canceled when
   * the device says so; with `force` they are canceled like the others, and later reports are stored as late.
   */
  async cancel(id: string, options: { force: boolean }, actor: string): Promise<Command> {
    const { store, outcomes, sender, frames, now } = this.#parts;
    const at = now();
    await store.transaction(async (tx) => {
      const command = await tx.commands.get(id);
      if (!command) throw new Problem('not-found', `There is no command ${id}.`);
      await tx.commands.requestCancel(id, at);
      await tx.audit.append({ at, actor, action: 'command.cancel', subject: id, detail: options });
    });
    await this.#eachOpen(id, async (devices) => {
      const keys = devices.map((device) => ({ command: id, device }));
      const { ended } = await outcomes.end(keys, options.force ? 'force' : 'cancel');
      const over = new Set(ended.map((row) => row.device));
      await sender.send(
        devices
          .filter((device) => !over.has(device))
          .map((device) => ({ devices: [device], frame: frames.cancelForDevice(id, device, at) })),
      );
    });
    if (options.force) await this.#ended(id);
    else void this.#parts.finalizer.soon();
    await outcomes.commandsMayBeDone([id]);
    return (await store.commands.get(id)) as Command;
  }

  /** Resolves when no execution is open, or after a while: a gateway may not have reported yet. */
  async #ended(id: string): Promise<void> {
    const { finalizer, store } = this.#parts;
    const until = performance.now() + FORCE_PATIENCE_MS;
    for (;;) {
      await finalizer.soon();
      const open = await store.executions.ofCommand(id, OPEN_STATES, '', 1);
      if (open.length === 0 || performance.now() > until) return;
      await delay(FORCE_LOOK_MS);
    }
  }

  async #eachOpen(id: string, work: (devices: string[]) => Promise<unknown>): Promise<void> {
    let after = '';
    for (;;) {
      const devices = await this.#parts.store.executions.ofCommand(id, OPEN_STATES, after, CANCEL_CHUNK);
      if (devices.length === 0) return;
      await work(devices);
      after = devices[devices.length - 1] as string;
    }
  }

  async #refuseUnknown(target: CommandTarget): Promise<void> {
    const { store } = this.#parts;
    if ('group' in target) {
      if (target.group === ROOT_GROUP || (await store.groups.get(target.group))) return;
      throw new Problem('unknown-reference', `There is no group ${target.group}.`);
    }
    const known = new Set((await store.devices.getMany(target.devices)).map((device) => device.id));
    const unknown = target.devices.filter((id) => !known.has(id));
    if (unknown.length === 0) return;
    throw unknownDevices(unknown);
  }
}

function toTarget(target: CommandRequest['target']): CommandTarget {
  if ('all' in target) return { group: ROOT_GROUP };
  if ('group' in target) return target;
  const devices = [...new Set(target.devices)];
  if (devices.length === 0 || devices.length > MAX_NAMED_DEVICES) {
    throw new Problem('bad-request', `target.devices: 1 to ${MAX_NAMED_DEVICES} ids; for more, use a group.`);
  }
  return { devices };
}

function describeTarget(target: CommandTarget): unknown {
  return 'group' in target ? target : describeDevices(target.devices);
}

function toCommand(
  request: CommandRequest,
  target: CommandTarget,
  { actor, now, secretCommands }: { actor: string; now: number; secretCommands: SecretCommands },
): NewCommand {
  const type = COMMAND_TYPES[request.type];
  const args = request.args ?? {};
  if (encodeValue(args).length > LIMITS.argsBytes) {
    throw new Problem('too-large', `args: at most ${LIMITS.argsBytes} bytes when encoded as MessagePack.`);
  }
  const id = sortableId('c', now);
  return {
    id,
    type: request.type,
    ...(request.secret ? { args: null, secret: secretCommands.take(id, args) } : { args }),
    target,
    offline: request.offline ?? 'queue',
    collapseKey: request.collapseKey === undefined ? type.collapseKey : request.collapseKey,
    issuedAt: now,
    expiresAt: expiryOf(request, now),
    timeoutMs: timeoutOf(request, type.timeoutMs),
    createdBy: actor,
    ...(request.idempotencyKey !== undefined && {
      idempotency: { key: request.idempotencyKey, bodyHash: bodyHash(request, secretCommands) },
    }),
  };
}

function expiryOf({ ttl, expiresAt }: CommandRequest, now: number): number {
  if (ttl !== undefined && expiresAt !== undefined) {
    throw new Problem('bad-request', 'Give ttl or expiresAt, not both.');
  }
  const at = expiresAt !== undefined ? Date.parse(expiresAt) : now + (ttl ?? DEFAULT_TTL_MS / 1000) * 1000;
  if (!Number.isFinite(at)) throw new Problem('bad-request', 'expiresAt: a time as RFC 3339 writes it.');
  if (at <= now) throw new Problem('past-expiry', 'expiresAt is in the past; no device could receive this.');
  if (at > now + SERVER_LIMITS.ttlMaxMs) {
    throw new Problem(
      'bad-request',
      `ttl or expiresAt: at most ${SERVER_LIMITS.ttlMaxMs / 86_400_000} days ahead.`,
    );
  }
  return Math.round(at);
}

function timeoutOf({ timeout }: CommandRequest, defaultMs: number): number {
  if (timeout === undefined) return defaultMs;
  const ms = Math.round(timeout * 1000);
  if (!(ms >= 1 && ms <= LIMITS.timeoutMaxMs)) {
    throw new Problem(
      'bad-request',
      `timeout: above 0 and at most ${LIMITS.timeoutMaxMs / 86_400_000} days.`,
    );
  }
  return ms;
}

/** The same request gives the same bytes, whatever the order of its fields. */
function bodyHash(request: CommandRequest, secretCommands: SecretCommands): Uint8Array {
  const { idempotencyKey: _, ...body } = request;
  const text = canonical(body);
  // A plain hash in the database would allow guessing short arguments.
  return request.secret ? secretCommands.codeOf(text) : createHash('sha256').update(text).digest();
}

function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonical(field)}`).join(',')}}`;
}
