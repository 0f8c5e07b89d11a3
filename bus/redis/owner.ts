import type { Logger } from 'pino';
import {
  BusUnavailable,
  ForeignInstallation,
  type Installation,
  InstallationRestored,
  type Owner,
} from '../bus.ts';
import type { Argument, Client } from './client.ts';
import type { Commands } from './commands.ts';
import type { Script } from './script.ts';
import { SCRIPTS } from './scripts/index.ts';

/**
 * An administration server that was displaced takes Redis back when the other installation has not been heard
 * of for so long, milliseconds. One that starts never takes what is another's.
 */
const GONE_AFTER_MS = 15_000;

/**
 * Which installation this Redis serves. It is looked at with every probe of the connections; while it is
 * another one, the bus counts as unavailable to everybody: nothing of the other is read, and nothing of it is
 * changed.
 */
export class RedisOwner implements Owner {
  readonly #commands: Commands;
  readonly #key: string;
  readonly #log: Logger;
  #current: Installation | null;
  #claims = false;
  #problem: string | null = null;

  /** `known`: what a program was told by the one that started it. */
  constructor(commands: Commands, key: string, log: Logger, known: Installation | null) {
    this.#commands = commands;
    this.#key = key;
    this.#log = log;
    this.#current = known;
  }

  get current(): Installation | null {
    return this.#current;
  }

  /** Why the bus must not be used. */
  get problem(): string | null {
    return this.#problem;
  }

  async claim(own: Installation): Promise<void> {
    const held = await this.#ask(own, 0);
    if (held?.id !== own.id) {
      throw new ForeignInstallation(
        `this Redis (${this.#key}) belongs to installation ${held?.id}, and the database is that of ` +
          `${own.id}. ` +
          'Either the database is the wrong one (--database-url, --data-dir), or Redis is: ' +
          'installations that share ' +
          'one need a --redis-prefix each. Nothing was changed. If the other one is given up for good: ' +
          `redis-cli del ${this.#key}`,
      );
    }
    if (held.epoch > own.epoch) throw new InstallationRestored(olderCopy(own, held.epoch));
    this.#claims = true;
    this.#current = { ...own };
    this.#become(null);
  }

  held(): Promise<Installation | null> {
    return this.#ask(null, 0);
  }

  /** Checks whether Redis still belongs to this installation. Rejects with `BusUnavailable`. */
  async look(): Promise<void> {
    const held = await this.#ask(this.#claims ? this.#current : null, GONE_AFTER_MS);
    if (held === null) return this.#become(null);
    this.#current ??= held;
    const { id, epoch } = this.#current;
    if (held.id !== id) {
      this.#become(`Redis (${this.#key}) belongs to installation ${held.id} now, but this program to ${id}`);
    } else if (held.epoch > epoch && this.#claims) {
      this.#become(olderCopy(this.#current, held.epoch));
    } else {
      if (held.epoch < epoch) await this.#remind(this.#current);
      else this.#current = held;
      this.#become(null);
    }
  }

  /** Redis lost what this program saw, and must still notice a server on an older copy of the database. */
  async #remind({ id, epoch }: Installation): Promise<void> {
    await this.#commands.run(SCRIPTS.raiseEpoch, [this.#key], [id, epoch]);
  }

  async #ask(own: Installation | null, goneAfterMs: number): Promise<Installation | null> {
    const [id, epoch] = (await this.#commands.run(
      SCRIPTS.holdInstallation,
      [this.#key],
      [own?.id ?? '', own?.epoch ?? 0, goneAfterMs],
    )) as [Buffer, Buffer];
    return id.length === 0 ? null : { id: id.toString(), epoch: Number(epoch.toString()) };
  }

  #become(problem: string | null): void {
    if (problem === this.#problem) return;
    if (problem === null)
      this.#log.info({ installation: this.#current }, 'Redis belongs to this installation again');
    else this.#log.error(problem);
    this.#problem = problem;
  }
}

function olderCopy({ id, epoch }: Installation, seen: number): string {
  return (
    `the database of installation ${id} is of epoch ${epoch}, and epoch ${seen} was in use: this server ` +
    'works on an older copy, or began before a backup was restored. If a backup was restored, stop the ' +
    'administration servers, run `pushpoint restored` with the same settings, then start them again'
  );
}

/**
 * The connections, for data of one installation: rejects with `BusUnavailable` while Redis belongs to
 * another.
 */
export class OwnCommands {
  readonly #commands: Commands;
  readonly #owner: RedisOwner;

  constructor(commands: Commands, owner: RedisOwner) {
    this.#commands = commands;
    this.#owner = owner;
  }

  async run(
    script: Script,
    keys: readonly [string, ...string[]],
    args: readonly Argument[],
  ): Promise<unknown> {
    this.assertOwn();
    return this.#commands.run(script, keys, args);
  }

  async do<T>(key: string, command: (client: Client) => Promise<T>): Promise<T> {
    this.assertOwn();
    return this.#commands.do(key, command);
  }

  /** The installation of this program; '' while unknown. */
  get installation(): string {
    return this.#owner.current?.id ?? '';
  }

  assertOwn(): void {
    const { problem } = this.#owner;
    if (problem !== null) throw new BusUnavailable(problem);
  }

  /** Data is gone: whoever emptied Redis may have filled it again. */
  async lookAgain(): Promise<void> {
    await this.#owner.look();
    this.assertOwn();
  }
}
