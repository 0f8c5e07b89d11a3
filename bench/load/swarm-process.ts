/** One process of a swarm; `swarm.ts` forks it and tells it, in the first message, which devices it is. */
import { once } from 'node:events';
import { sharedNow } from '../measure/clock.ts';
import { Connection, type Keeper, type Phase } from './connection.ts';
import { Counters, type Dialect, type DialectFactory, Marks } from './dialect.ts';
import { DIALECTS } from './dialects.ts';
import type { SwarmAnswers, SwarmProcessStart, SwarmRequest } from './swarm-messages.ts';

const HEARTBEAT_TICK_MS = 250;
/** On the way from dialing to ready. */
const SETTLING: readonly Phase[] = ['connecting', 'upgrading', 'open'];

class SwarmProcess implements Keeper {
  returning = false;
  readonly request: Uint8Array;
  readonly #start: SwarmProcessStart;
  readonly #dialect: Dialect;
  readonly #marks: Marks;
  readonly #counters: Counters;
  readonly #connections: Connection[];
  readonly #phases: Partial<Record<Phase, number>> = {};
  #next = 0;
  #upTo = 0;
  #underWay = 0;
  #atOnce = 0;
  #heartbeatSlot = 0;

  constructor(start: SwarmProcessStart, makeDialect: DialectFactory) {
    this.#start = start;
    this.#marks = new Marks();
    this.#counters = new Counters();
    this.#dialect = makeDialect({ marks: this.#marks, counters: this.#counters, options: start.options });
    this.request = Buffer.from(
      [
        `GET ${this.#dialect.path} HTTP/1.1`,
        'Host: bench',
        'Upgrade: websocket',
        'Connection: Upgrade',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        ...this.#dialect.headers,
        '\r\n',
      ].join('\r\n'),
      'latin1',
    );
    const { from, to } = start;
    this.#connections = Array.from({ length: to - from }, (_, index) => new Connection(from + index, this));
    if (start.spread) for (const connection of this.#connections) connection.target = connection.number;
    this.#phases.idle = to - from;
    if (this.#dialect.heartbeat) setInterval(() => this.#heartbeats(), HEARTBEAT_TICK_MS);
  }

  get targets(): number {
    return this.#start.targets.length;
  }

  target(index: number): { host: string; port: number } {
    const { targets } = this.#start;
    return targets[index % targets.length] as { host: string; port: number };
  }

  opened(connection: Connection): void {
    this.#dialect.opened(connection);
  }

  message(connection: Connection, payload: Uint8Array, opcode: number): void {
    this.#dialect.message(connection, payload, opcode);
  }

  phaseChanged({ phase }: Connection, before: Phase): void {
    this.#phases[before] = (this.#phases[before] ?? 0) - 1;
    this.#phases[phase] = (this.#phases[phase] ?? 0) + 1;
    if (phase === 'ready') {
      this.#counters.add('ready');
      this.#marks.add('ready', '', sharedNow());
    }
    if (phase === 'connecting') this.#underWay++;
    else if (SETTLING.includes(before) && !SETTLING.includes(phase)) {
      this.#underWay--;
      this.#dialMore();
    }
  }

  refused(status: number): void {
    this.#counters.add(`refused ${status}`);
  }

  ended(_connection: Connection, code: number, wasReady: boolean): void {
    this.#counters.add(`${wasReady ? 'lost' : 'failed'} ${code}`);
    if (wasReady) this.#marks.add('lost', '', sharedNow());
  }

  answer(request: SwarmRequest): SwarmAnswers[SwarmRequest['op']] {
    switch (request.op) {
      case 'prepare':
        return this.#dialect.prepare?.(this.#start.from, this.#start.to) ?? [];
      case 'open':
        this.#atOnce = request.atOnce;
        this.#upTo = Math.ceil(this.#connections.length * request.share);
        this.#next = 0;
        this.#dialMore();
        return null;
      case 'returning':
        this.returning = request.on;
        return null;
      case 'target':
        for (const connection of this.#connections) connection.target = request.index;
        return null;
      case 'stall':
        return this.#stall(request.every);
      case 'cut':
        for (const connection of this.#connections) {
          if (connection.phase === 'ready' && connection.number % request.every === request.rest)
            connection.cut();
        }
        return null;
      case 'work':
        this.#dialect.work?.(request.ms);
        return null;
      case 'state':
        return { phases: this.#phases, counters: this.#counters.values };
      case 'count':
        return this.#marks.count(request.kind, request.key);
      case 'take':
        return new Map(
          [...this.#marks.take(request.kind)].map(([key, times]) => [key, Float64Array.from(times)]),
        );
      case 'close':
        this.returning = false;
        for (const connection of this.#connections) connection.leave(request.how);
        return null;
    }
  }

  #dialMore(): void {
    while (this.#underWay < this.#atOnce && this.#next < this.#upTo) {
      const connection = this.#connections[this.#next++] as Connection;
      if (connection.phase !== 'idle' && connection.phase !== 'gone') continue;
      connection.dial();
    }
  }

  #stall(every: number): number {
    let stalled = 0;
    for (const connection of this.#connections) {
      if (connection.phase !== 'ready') continue;
      if (every === 0) connection.resume();
      else if (connection.number % every === 0) {
        connection.stall();
        stalled++;
      }
    }
    return stalled;
  }

  /**
   * A slice of the devices each tick, so that each has its turn once in an interval and no device needs a
   * timer.
   */
  #heartbeats(): void {
    const slots = Math.max(1, Math.round((this.#dialect.heartbeatMs ?? 60_000) / HEARTBEAT_TICK_MS));
    this.#heartbeatSlot = (this.#heartbeatSlot + 1) % slots;
    for (let index = this.#heartbeatSlot; index < this.#connections.length; index += slots) {
      const connection = this.#connections[index] as Connection;
      if (connection.phase === 'ready') this.#dialect.heartbeat?.(connection);
    }
  }
}

const [start] = (await once(process, 'message')) as [SwarmProcessStart];
const { default: makeDialect } = await DIALECTS[start.dialect]();
const swarm = new SwarmProcess(start, makeDialect);
process.on('message', ({ number, request }: { number: number; request: SwarmRequest }) => {
  process.send?.({ number, answer: swarm.answer(request) });
});
process.on('disconnect', () => process.exit());
process.send?.({ number: 0, answer: null });
