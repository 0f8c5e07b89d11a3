/**
 * Follows one command until every execution is final. The event stream only says when to read the command
 * again: a lost, late or repeated event costs time, never correctness. Without a stream it polls.
 */

import { CliError, EXIT } from '../exit-codes.ts';
import { type ApiClient, ApiUnavailable } from './api-client.ts';
import { pause, readEventStream } from './event-stream.ts';
import type { CommandView } from './views.ts';

export interface FollowOptions {
  api: ApiClient;
  commandId: string;
  /** Gives up with exit code 6 after this long, milliseconds. */
  waitTimeoutMs?: number | undefined;
  signal: AbortSignal;
  onChange?: (command: CommandView) => void;
  /** Shortest time between two reads, and the interval with and without a live stream, milliseconds. */
  gapMs?: number;
  livePollMs?: number;
  deadPollMs?: number;
  /** How long the server may be away before that is an error, milliseconds. */
  unavailableMs?: number;
}

/**
 * Resolves with the finished command. Throws `CliError` (interrupted, wait timeout, refused, unavailable).
 */
export async function followCommand(options: FollowOptions): Promise<CommandView> {
  const { api, commandId, signal, gapMs = 200, livePollMs = 10_000, deadPollMs = 1_000 } = options;
  const deadline =
    options.waitTimeoutMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + options.waitTimeoutMs;
  const streamEnd = new AbortController();
  const endStream = (): void => streamEnd.abort();
  signal.addEventListener('abort', endStream);
  if (signal.aborted) endStream();
  const wake = new Wake();
  let live = false;
  const stream = readEventStream({
    api,
    query: { command: commandId },
    signal: streamEnd.signal,
    onConnected: (connected) => {
      live = connected;
      wake.ring();
    },
    onEvent: () => wake.ring(),
  }).catch(() => {
    // Refused for good (an older server, missing rights): polling does the same, more slowly.
    live = false;
  });

  const patience = new Patience(options.unavailableMs ?? 60_000);
  try {
    while (true) {
      const command = await patience.ask(() =>
        api.get<CommandView>(`/v1/commands/${encodeURIComponent(commandId)}`),
      );
      if (command !== undefined) {
        options.onChange?.(command);
        if (command.finishedAt !== null) return command;
      }
      if (Date.now() >= deadline) {
        throw new CliError(
          EXIT.waitTimeout,
          'Not every execution is final yet. The command goes on; follow it with: pushpoint commands ' +
            `wait ${commandId}`,
        );
      }
      await pause(Math.min(gapMs, Math.max(0, deadline - Date.now())), signal);
      await wake.wait(Math.min(live ? livePollMs : deadPollMs, Math.max(0, deadline - Date.now())), signal);
      if (signal.aborted) {
        throw new CliError(
          EXIT.interrupted,
          `Interrupted. The command goes on; follow it with: pushpoint commands wait ${commandId}`,
        );
      }
    }
  } finally {
    signal.removeEventListener('abort', endStream);
    endStream();
    await stream;
  }
}

/** A signal that is not lost if it comes before somebody waits for it. */
class Wake {
  #rung = false;
  #listener: (() => void) | undefined;

  ring(): void {
    this.#rung = true;
    this.#listener?.();
  }

  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#rung && !signal.aborted) {
      const heard = new AbortController();
      const hear = (): void => heard.abort();
      this.#listener = hear;
      signal.addEventListener('abort', hear);
      await pause(ms, heard.signal);
      signal.removeEventListener('abort', hear);
      this.#listener = undefined;
    }
    this.#rung = false;
  }
}

/** Tolerates a restart of the server: only a longer absence is an error. */
class Patience {
  readonly #limitMs: number;
  #awaySince: number | undefined;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  /** `undefined` while the server is away for a tolerable time. */
  async ask<T>(request: () => Promise<T>): Promise<T | undefined> {
    try {
      const answer = await request();
      this.#awaySince = undefined;
      return answer;
    } catch (error) {
      if (!(error instanceof ApiUnavailable)) throw error;
      this.#awaySince ??= Date.now();
      if (Date.now() - this.#awaySince >= this.#limitMs) throw error;
      return undefined;
    }
  }
}
