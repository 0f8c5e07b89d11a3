/**
 * Commands of groups whose results the ledger has stored. A device learns of them with the answer to its next
 * heartbeat (B-2), or in a message of their own after a minute. A session that ends loses them: its
 * device sends the results again, and the ledger answers again.
 */
import { BeatAnswers, encodeGatewayMessage, LIMITS, type Settled } from '../../protocol/index.ts';
import type { AdmittedConnection } from './session.ts';

export type SettledCommand = Pick<Settled, 'id' | 'state'>;

/** What a session waits to be told. All sessions that wait for the same commands share it. */
export class SettledList {
  readonly commands: readonly SettledCommand[];
  /** When the oldest of the commands came. */
  readonly sinceTick: number;
  #answers: BeatAnswers | undefined;
  #frames: readonly Uint8Array[] | undefined;
  #longer: SettledList | undefined;

  constructor(commands: readonly SettledCommand[], sinceTick: number) {
    this.commands = commands;
    this.sinceTick = sinceTick;
  }

  /** The answer to a heartbeat that tells of them; valid until the next call. */
  answer(time: number): Uint8Array {
    this.#answers ??= new BeatAnswers(this.commands.map(({ id }) => id));
    return this.#answers.at(time);
  }

  /** Messages that tell of them alone. */
  get frames(): readonly Uint8Array[] {
    this.#frames ??= this.commands.map((command) => encodeGatewayMessage({ t: 'settled', ...command }));
    return this.#frames;
  }

  with(command: SettledCommand): SettledList {
    if (this.commands.some(({ id }) => id === command.id)) return this;
    if (this.#longer?.commands.at(-1) !== command) {
      this.#longer = new SettledList([...this.commands, command], this.sinceTick);
    }
    return this.#longer;
  }
}

export class PendingSettled {
  /** By session, the one that waits longest first. */
  readonly #lists = new Map<AdmittedConnection, SettledList>();
  /** The newest list of a single command. */
  #newest: SettledList | undefined;

  /** Sessions that wait. */
  get size(): number {
    return this.#lists.size;
  }

  /** Returns what has to be sent now, as the session may wait for no more. */
  add(connection: AdmittedConnection, command: SettledCommand, tick: number): SettledList | null {
    const before = this.#lists.get(connection);
    const list = before ? before.with(command) : this.#single(command, tick);
    if (list.commands.length < LIMITS.settled) {
      this.#lists.set(connection, list);
      return null;
    }
    this.#lists.delete(connection);
    return list;
  }

  /** Hands over what the session waits for, and forgets it. */
  take(connection: AdmittedConnection): SettledList | undefined {
    if (this.#lists.size === 0) return undefined;
    const list = this.#lists.get(connection);
    if (list) this.#lists.delete(connection);
    return list;
  }

  /** Up to `most` of the sessions whose oldest command came before `tick`; they stay. */
  olderThan(tick: number, most: number): AdmittedConnection[] {
    const found: AdmittedConnection[] = [];
    for (const [connection, { sinceTick }] of this.#lists) {
      if (sinceTick >= tick || found.length === most) break;
      found.push(connection);
    }
    return found;
  }

  #single(command: SettledCommand, tick: number): SettledList {
    if (this.#newest?.commands[0] !== command || this.#newest.sinceTick !== tick) {
      this.#newest = new SettledList([command], tick);
    }
    return this.#newest;
  }
}
