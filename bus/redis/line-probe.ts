import type { Commands } from './commands.ts';
import type { Line } from './subscriptions.ts';

/** How long a published and acknowledged probe may take to arrive, milliseconds. */
const ECHO_DEADLINE_MS = 2_000;

export interface LineProbeEvents {
  echoed(roundTripMs: number): void;
  /** The line does not deliver messages. */
  failed(reason: string): void;
}

/**
 * Publishes a probe through the commands connection and expects it on the subscription. A subscription may
 * look alive but deliver nothing (half open), or may be to another server than the commands.
 */
export class LineProbe {
  readonly #commands: Commands;
  readonly #channel: string;
  readonly #sharded: boolean;
  readonly #line: Line;
  readonly #events: LineProbeEvents;
  #number = 0;
  #awaited: { text: string; sentAt: number; deadline: NodeJS.Timeout | undefined } | null = null;

  constructor(commands: Commands, line: Line, channel: string, sharded: boolean, events: LineProbeEvents) {
    this.#commands = commands;
    this.#line = line;
    this.#channel = channel;
    this.#sharded = sharded;
    this.#events = events;
    line.onProbe = (text) => this.#echo(text);
  }

  /**
   * Rejects when the probe cannot be published; its outcome is an event. Does nothing while a probe is
   * pending.
   */
  async send(): Promise<void> {
    if (this.#awaited !== null) return;
    this.#number += 1;
    const text = String(this.#number);
    const awaited = { text, sentAt: performance.now(), deadline: undefined as NodeJS.Timeout | undefined };
    this.#awaited = awaited;
    let receivers: number;
    try {
      receivers = await this.#commands.do(this.#channel, (client) =>
        this.#sharded
          ? (client.spublish(this.#channel, text) as Promise<number>)
          : client.publish(this.#channel, text),
      );
    } catch (error) {
      if (this.#awaited === awaited) this.#awaited = null;
      throw error;
    }
    // The message may overtake the answer to its publication: they come on two connections.
    if (this.#awaited !== awaited) return;
    if (receivers === 0) this.#fail(awaited, 'it is not subscribed at the server that commands go to');
    else awaited.deadline = setTimeout(() => this.#late(awaited), ECHO_DEADLINE_MS);
  }

  stop(): void {
    clearTimeout(this.#awaited?.deadline);
    this.#awaited = null;
    this.#line.onProbe = () => {};
  }

  #echo(text: string): void {
    const awaited = this.#awaited;
    if (awaited?.text !== text) return;
    clearTimeout(awaited.deadline);
    this.#awaited = null;
    this.#events.echoed(performance.now() - awaited.sentAt);
  }

  /** After a stall of this process, the message may still be in the socket: read it first. */
  #late(awaited: { text: string }): void {
    setImmediate(() => setImmediate(() => this.#fail(awaited, 'published messages do not arrive')));
  }

  #fail(awaited: { text: string }, reason: string): void {
    if (this.#awaited?.text !== awaited.text) return;
    this.#awaited = null;
    this.#events.failed(reason);
  }
}
