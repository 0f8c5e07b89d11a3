import type { CommandArgs, CommandType } from '../../protocol/command-args.ts';
import { type CommandOrder, ID_PATTERN } from '../../protocol/index.ts';

/** A command as a handler gets it. Arguments are as the server signed them: check what you rely on. */
export type Command<Args = unknown> = Pick<
  CommandOrder,
  'id' | 'type' | 'issuedAt' | 'expiresAt' | 'timeoutMs'
> & {
  args: Args;
  /** Only this device and the administration server can read arguments and result. Keep it that way. */
  secret?: true;
};

export interface HandlerContext {
  /**
   * Aborted when the command is canceled, its time is up, or the device stops; `reason` is an `Error` saying
   * which.
   */
  signal: AbortSignal;
  /**
   * Reports progress, 0 to 100 percent, rounded; the newest report wins, about one a second is sent. Notes
   * above 256 characters are cut. Throws `RangeError` or `TypeError` for what is no percentage or no text.
   */
  progress(percent?: number, note?: string): void;
}

/**
 * Runs one command. What it returns is the result of a success; `Rejected` refuses the command, `Failed`
 * fails it with data, any other error fails it with the error's message as the reason (512 characters at
 * most, cut).
 *
 * Data is null, booleans, finite numbers, text, arrays and plain objects of these, and what has a `toJSON`
 * that gives such; at most 32,768 bytes as MessagePack and nested 16 deep. Anything else (NaN, a Map, binary,
 * more bytes) is refused whole: the event `fault` says what and where, and the execution ends in its true
 * state without data, its reason saying why.
 */
export type Handler<Args = unknown> = (command: Command<Args>, context: HandlerContext) => unknown;

export interface HandlerOptions {
  /** Running it twice does no harm: an execution cut short by a crash is run again instead of failing. */
  safeToRepeat?: boolean;
  /**
   * Asked after a restart about an execution that had begun: whether its work goes on outside of this
   * program. Then the handler is called again, to follow it to its end; with a signal that is aborted already
   * where its time ran out meanwhile or it was canceled, to end it.
   */
  goesOn?: (command: Pick<CommandOrder, 'id' | 'args'>) => boolean;
  /** Runs at once beside the others, whatever the limit; for handlers that wait long, or that stop others. */
  unlimited?: boolean;
}

/** Thrown by a handler that will not run this command. The message is the reason (at most 512 characters). */
export class Rejected extends Error {
  override readonly name = 'Rejected';
}

/** Thrown by a handler whose failure has data. */
export class Failed extends Error {
  override readonly name = 'Failed';
  readonly data: unknown;
  constructor(reason: string, data?: unknown) {
    super(reason);
    this.data = data;
  }
}

/** `stopped`: this program ends. */
export type AbortReason = 'canceled' | 'timed-out' | 'stopped';

/** Why a handler's signal was aborted: the signal's `reason`. */
export class Aborted extends Error {
  override readonly name = 'AbortError';
  readonly why: AbortReason;
  constructor(why: AbortReason) {
    super(why);
    this.why = why;
  }
}

export interface Registered {
  run: Handler;
  options: HandlerOptions;
}

/** Handlers by command type. */
export class Handlers {
  readonly #byType = new Map<string, Registered>();

  add<T extends CommandType>(type: T, run: Handler<CommandArgs[T]>, options?: HandlerOptions): void;
  add(type: string, run: Handler, options?: HandlerOptions): void;
  add(type: string, run: Handler<never>, options: HandlerOptions = {}): void {
    if (!ID_PATTERN.test(type)) throw new TypeError(`${JSON.stringify(type)} is no type of a command`);
    this.#byType.set(type, { run: run as Handler, options });
  }

  get(type: string): Registered | undefined {
    return this.#byType.get(type);
  }

  get types(): string[] {
    return [...this.#byType.keys()];
  }
}
