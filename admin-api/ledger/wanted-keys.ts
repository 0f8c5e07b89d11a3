/** Answers devices that ask for keys of their groups. */
import { encodeGatewayMessage, type GroupKeyName, type Key, sealedKeyBytes } from '../../protocol/index.ts';
import { encrypt } from '../at-rest/aes-gcm.ts';
import type { BestEffortSender } from '../best-effort-sender.ts';
import { DeviceLimit } from '../device-limit.ts';
import type { DeviceSecrets } from '../device-secrets.ts';
import type { CommandFrames } from '../dispatch/command-frames.ts';
import { groupsOnPath } from '../group-path.ts';
import type { AdminMetrics } from '../metrics.ts';
import type { LedgerSecrets } from '../secrets/ledger-secrets.ts';
import type { Command, Device } from '../store/records.ts';
import type { Store } from '../store/store.ts';

/** A device gets at most this many answers per window; it asks again later. */
const ANSWERS_MAX = 32;
const WINDOW_MS = 10_000;
/** Most commands that are sent again for one question, and how many open ones are read at once. */
const COMMANDS_AGAIN = 32;
const PAGE = 200;

export type Want = { device: string } & GroupKeyName;

export interface WantedKeysParts {
  store: Store;
  secrets: DeviceSecrets;
  ledgerSecrets: LedgerSecrets;
  sender: Pick<BestEffortSender, 'send'>;
  frames: Pick<CommandFrames, 'forDevice'>;
  metrics: AdminMetrics;
}

export class WantedKeys {
  readonly #parts: WantedKeysParts;
  readonly #limit = new DeviceLimit(ANSWERS_MAX, WINDOW_MS);

  constructor(parts: WantedKeysParts) {
    this.#parts = parts;
  }

  /** Keys go only to devices that are active and in the group at this moment. */
  async answer(wants: readonly Want[]): Promise<void> {
    const { store, ledgerSecrets, sender, metrics } = this.#parts;
    const asked = wants.filter(({ device }) => this.#limit.take(device) === 0);
    metrics.keysWanted.inc({ answer: 'later' }, wants.length - asked.length);
    if (asked.length === 0) return;
    // Reads keys before devices: a device that leaves in between gets no key that was made afterwards.
    const names = new Map(asked.map(({ device: _, ...name }) => [textOf(name), name]));
    const keys = new Map(
      (await store.groupKeys.ofNames([...names.values()])).map(({ sealedKey, ...name }) => [
        textOf(name),
        { name, key: ledgerSecrets.openGroupKey(name, sealedKey) },
      ]),
    );
    const devices = await store.devices.withPaths([...new Set(asked.map(({ device }) => device))]);
    const byId = new Map(devices.map((device) => [device.id, device]));
    const entitled = asked.flatMap((want) => {
      const device = byId.get(want.device);
      return device && mayHave(device, want.group) ? [{ device, text: textOf(want) }] : [];
    });
    const letters = entitled.flatMap(({ device, text }) => {
      const found = keys.get(text);
      return found ? [{ devices: [device.id], frame: this.#frame(device, found) }] : [];
    });
    metrics.keysWanted.inc({ answer: 'sent' }, letters.length);
    metrics.keysWanted.inc({ answer: 'refused' }, asked.length - letters.length);
    await sender.send([...letters, ...(await this.#again(asked, byId))]);
  }

  /**
   * A device that has left the group gets none of its keys. It gets the commands that it was sent as a member
   * again, sealed for it alone.
   */
  async #again(asked: readonly Want[], byId: ReadonlyMap<string, Device & { groupPath: string }>) {
    const letters: { devices: string[]; frame: Uint8Array }[] = [];
    for (const { device: id, ...name } of asked) {
      const device = byId.get(id);
      if (!device || device.blockedAt !== null || mayHave(device, name.group)) continue;
      for (const command of await this.#openCommands(id, textOf(name))) {
        const frame = this.#parts.frames.forDevice(command, id, device.generation);
        letters.push({ devices: [id], frame });
      }
    }
    return letters;
  }

  /** Commands that the device was sent and cannot read without this key. */
  async #openCommands(device: string, key: string): Promise<Command[]> {
    const { store } = this.#parts;
    const found: Command[] = [];
    for (let after: string | undefined = ''; after !== undefined && found.length < COMMANDS_AGAIN; ) {
      const page: Awaited<ReturnType<Store['executions']['openOf']>> = await store.executions.openOf(
        device,
        PAGE,
        after,
      );
      const sent = page.filter(({ state }) => state !== 'queued').map(({ command }) => command);
      for (const command of await store.commands.getMany(sent)) {
        const sealed = command.secret?.sealed?.key;
        if (sealed && textOf(sealed) === key) found.push(command);
      }
      after = page.length < PAGE ? undefined : page.at(-1)?.command;
    }
    return found.slice(0, COMMANDS_AGAIN);
  }

  #frame(device: Device, { name, key }: { name: GroupKeyName; key: Uint8Array }): Uint8Array {
    const wrap = this.#parts.secrets.wrapKey(device.id, device.generation);
    const answer: Key = { t: 'key', ...name, ...encrypt(wrap, key, sealedKeyBytes(device.id, name)) };
    return encodeGatewayMessage(answer);
  }
}

function mayHave({ blockedAt, groupPath }: Device & { groupPath: string }, group: string): boolean {
  return blockedAt === null && groupsOnPath(groupPath).includes(group);
}

function textOf({ group, epoch, number }: GroupKeyName): string {
  return `${group} ${epoch} ${number}`;
}
