/**
 * Keys of groups for secret commands. The device keeps them, and asks for a missing one while a
 * command waits for it.
 */
import { type GroupKeyName, type Key, sealedKeyBytes, type Want } from '../../protocol/index.ts';
import type { GroupKey } from '../storage/store.ts';
import type { DeviceKeys } from './device-keys.ts';

/** Most keys kept; the oldest are dropped, and requested again when needed. */
const KEPT_MAX = 64;
/** Most keys requested at a time. */
const WANTED_MAX = 64;
/** Spread of the first request: all devices of a group lack a new key at the same time. */
const FIRST_MS = 1_000;
const AGAIN_MS = 5_000;
const AGAIN_MAX_MS = 300_000;

export interface GroupKeysHooks {
  /** A key has come. */
  came(name: GroupKeyName): void;
  /** Whether a command still waits for this key. */
  waits(name: GroupKeyName): boolean;
  /** There is room again for a request that had none: every command without its key requests it again. */
  room(): void;
}

interface GroupKeysParts extends GroupKeysHooks {
  held: readonly GroupKey[];
  keys: DeviceKeys;
  keep(keys: readonly GroupKey[]): void;
  random: () => number;
}

interface Wanted {
  name: GroupKeyName;
  dueAt: number;
  pauseMs: number;
}

/** Where requests go: a connection. */
interface WantLink {
  send(want: Want): void;
}

export class GroupKeys {
  readonly #parts: GroupKeysParts;
  #held: readonly GroupKey[];
  readonly #wanted = new Map<string, Wanted>();
  /** There was no room to request a key. */
  #full = false;
  #link: WantLink | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(parts: GroupKeysParts) {
    this.#parts = parts;
    this.#held = parts.held;
  }

  get(name: GroupKeyName): Uint8Array | undefined {
    const wanted = textOf(name);
    return this.#held.find((held) => textOf(held) === wanted)?.key;
  }

  /** Requests it repeatedly until it comes or no command waits for it; if there is no room, later. */
  want(name: GroupKeyName): void {
    const text = textOf(name);
    if (this.#wanted.has(text)) return;
    if (this.#wanted.size >= WANTED_MAX) {
      this.#full = true;
      return;
    }
    this.#wanted.set(text, { name, dueAt: this.#soon(), pauseMs: AGAIN_MS });
    this.#arm();
  }

  /** A session is open: earlier requests may be lost. */
  attach(link: WantLink): void {
    this.#link = link;
    for (const wanted of this.#wanted.values()) wanted.dueAt = this.#soon();
    this.#arm();
  }

  detach(): void {
    this.#link = null;
    clearTimeout(this.#timer);
  }

  /** Accepts only requested keys: a gateway that repeats old answers must not displace other keys. */
  async take(answer: Key): Promise<void> {
    const { group, epoch, number } = answer;
    const name = { group, epoch, number };
    const { keys, keep, came } = this.#parts;
    if (!this.#wanted.has(textOf(name))) return;
    const key = await keys.open('wrap', answer, sealedKeyBytes(keys.deviceId, name));
    if (key === null || !this.#wanted.delete(textOf(name))) return;
    this.#held = [...this.#held, { ...name, key }].slice(-KEPT_MAX);
    keep(this.#held);
    came(name);
    this.#fill();
  }

  #fill(): void {
    if (!this.#full || this.#wanted.size >= WANTED_MAX) return;
    this.#full = false;
    this.#parts.room();
  }

  #soon(): number {
    return performance.now() + this.#parts.random() * FIRST_MS;
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (!this.#link || this.#wanted.size === 0) return;
    const dueAt = Math.min(...[...this.#wanted.values()].map((wanted) => wanted.dueAt));
    this.#timer = setTimeout(() => this.#ask(), Math.max(0, dueAt - performance.now()));
  }

  #ask(): void {
    const now = performance.now();
    for (const [text, wanted] of this.#wanted) {
      if (!this.#parts.waits(wanted.name)) {
        this.#wanted.delete(text);
        continue;
      }
      if (wanted.dueAt > now) continue;
      this.#link?.send({ t: 'want', ...wanted.name });
      wanted.dueAt = now + wanted.pauseMs * (1 + this.#parts.random());
      wanted.pauseMs = Math.min(AGAIN_MAX_MS, wanted.pauseMs * 2);
    }
    this.#fill();
    this.#arm();
  }
}

export function isSameKey(one: GroupKeyName, other: GroupKeyName): boolean {
  return textOf(one) === textOf(other);
}

function textOf({ group, epoch, number }: GroupKeyName): string {
  return `${group} ${epoch} ${number}`;
}
