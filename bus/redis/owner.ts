import type { Logger } from 'pino';
import {
  BusUnavailable,
  type EpochMac,
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
 * A displaced administration server takes Redis back when the other installation has been silent for this
 * long, milliseconds. A server that starts never takes Redis from another installation.
 */
const GONE_AFTER_MS = 15_000;

/** `seal`: the MAC of the epoch, under its name in Redis; '' for none. */
export interface KnownInstallation extends Installation {
  seal: string;
}

export interface RedisOwnerParts {
  commands: Commands;
  key: string;
  log: Logger;
  /** The installation, if the parent process passed it on. */
  known: Installation | null;
  /**
   * Of a gateway: what an administration server told it, signed. `null` before it joined: then it raises no
   * epoch that others wrote into Redis. `undefined`: this program has nobody to tell it.
   */
  told: () => KnownInstallation | null | undefined;
}

/**
 * Which installation this Redis serves. Every probe of the connections checks it. While it is another one,
 * the bus counts as unavailable to everybody: nothing of the other installation is read or changed.
 */
export class RedisOwner implements Owner {
  readonly #commands: Commands;
  readonly #key: string;
  readonly #log: Logger;
  readonly #told: RedisOwnerParts['told'];
  #current: KnownInstallation | null;
  #seen = 0;
  #claims = false;
  #epochMac: EpochMac | null = null;
  #problem: string | null = null;
  /** The last epoch that no server began, so that it is reported once. */
  #false = 0;

  constructor({ commands, key, log, known, told }: RedisOwnerParts) {
    this.#commands = commands;
    this.#key = key;
    this.#log = log;
    this.#current = known && { ...known, seal: '' };
    this.#told = told;
  }

  get seen(): number {
    return this.#seen;
  }

  get current(): Installation | null {
    return this.#current && { id: this.#current.id, epoch: this.#current.epoch };
  }

  /** Why the bus must not be used. */
  get problem(): string | null {
    return this.#problem;
  }

  async claim(installation: Installation, epochMac?: EpochMac): Promise<void> {
    this.#epochMac = epochMac ?? null;
    const own = { ...installation, seal: epochMac?.of(installation) ?? '' };
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
    if (await this.#isLater(held, own)) throw new InstallationRestored(olderCopy(own, held.epoch));
    this.#claims = true;
    this.#current = own;
    this.#become(null);
  }

  async held(epochMac?: EpochMac): Promise<Installation | null> {
    const held = await this.#ask(null, 0);
    return held && { id: held.id, epoch: epochMac && epochMac.of(held) !== held.seal ? 0 : held.epoch };
  }

  /** Checks whether Redis still belongs to this installation. Rejects with `BusUnavailable`. */
  async look(): Promise<void> {
    const held = await this.#ask(this.#claims ? this.#current : null, GONE_AFTER_MS);
    if (held === null) return this.#become(null);
    const told = this.#claims ? undefined : this.#told();
    this.#seen = held.epoch;
    this.#current = told ?? this.#current ?? held;
    const { id, epoch } = this.#current;
    if (held.id !== id) {
      const change = told
        ? '. If this gateway is to change to the other installation: stop it, delete the folder with its ' +
          'identity (gateways/NAME in its data folder), and let it join again'
        : '';
      this.#become(
        `Redis (${this.#key}) belongs to installation ${held.id} now, but this program to ${id}${change}`,
      );
    } else if (this.#claims && (await this.#isLater(held, this.#current))) {
      this.#become(olderCopy(this.#current, held.epoch));
    } else {
      if (held.epoch < epoch) await (told === null ? null : this.#remind(this.#current));
      else if (!this.#claims && !told) this.#current = held;
      this.#become(null);
    }
  }

  /** Ignores a later epoch that no administration server began, and corrects it. */
  async #isLater(held: KnownInstallation, own: KnownInstallation): Promise<boolean> {
    if (held.epoch <= own.epoch) return false;
    if (this.#epochMac === null || this.#epochMac.of(held) === held.seal) return true;
    if (held.epoch !== this.#false) {
      this.#log.error(
        `somebody wrote epoch ${held.epoch} into Redis (${this.#key}), which no administration server ` +
          `began: it stays epoch ${own.epoch}`,
      );
    }
    this.#false = held.epoch;
    await this.#commands.run(SCRIPTS.correctEpoch, [this.#key], [own.id, held.seal, own.epoch, own.seal]);
    return false;
  }

  /**
   * Redis lost the epoch that this program saw. Restores it, so that a server on an older copy of the
   * database is still noticed.
   */
  async #remind({ id, epoch, seal }: KnownInstallation): Promise<void> {
    await this.#commands.run(SCRIPTS.raiseEpoch, [this.#key], [id, epoch, seal]);
  }

  async #ask(own: KnownInstallation | null, goneAfterMs: number): Promise<KnownInstallation | null> {
    const answer = (await this.#commands.run(
      SCRIPTS.holdInstallation,
      [this.#key],
      [own?.id ?? '', own?.epoch ?? 0, own?.seal ?? '', goneAfterMs],
    )) as Buffer[];
    const [id = '', epoch, seal = ''] = answer.map(String);
    return id === '' ? null : { id, epoch: Number(epoch), seal };
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
 * The connections, for the data of one installation: rejects with `BusUnavailable` while Redis belongs to
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

  /** Data is gone: another installation may have emptied Redis and filled it again. */
  async lookAgain(): Promise<void> {
    await this.#owner.look();
    this.assertOwn();
  }
}
