import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { BusUnavailable } from '../bus.ts';
import { close, open, sentinelClient } from './client.ts';
import { reasonOf } from './errors.ts';
import { type Endpoint, endpointName, type RedisTarget } from './settings.ts';
import { Lookout, PRIMARY, type Topology } from './topology.ts';

const LOOK_INTERVAL_MS = 1_000;

/**
 * Finds the primary that sentinels name. All sentinels are polled, even while connections work: an old
 * primary that is cut off from them may still answer this program. The answer with the highest configuration
 * epoch counts, so a sentinel that is cut off as well does not lead back to the old primary.
 */
export class SentinelTopology implements Topology {
  readonly #name: string;
  readonly #sentinels: { name: string; client: Redis }[];
  readonly #lookout = new Lookout(LOOK_INTERVAL_MS, () => this.#look());
  readonly #log: Logger;
  #primary: Endpoint | null = null;
  #epoch = -1;
  #problem: string | null = 'the sentinels have not been queried yet';
  #onChange: () => void = () => {};

  constructor(target: RedisTarget & { kind: 'sentinel' }, log: Logger) {
    this.#name = target.primary;
    this.#log = log;
    this.#sentinels = target.endpoints.map((endpoint) => ({
      name: endpointName(endpoint),
      client: sentinelClient(target, endpoint),
    }));
    for (const { name, client } of this.#sentinels) {
      client.on('error', (error: Error) => {
        if (this.#primary === null) this.#problem = `sentinel ${name}: ${reasonOf(error)}`;
        log.debug({ reason: reasonOf(error), sentinel: name }, 'sentinel connection');
      });
      client.on('ready', () => this.#lookout.soon());
    }
  }

  start(onChange: () => void): void {
    this.#onChange = onChange;
    for (const { client } of this.#sentinels) open(client);
    this.#lookout.soon();
  }

  async stop(): Promise<void> {
    await this.#lookout.stop();
    await Promise.all(this.#sentinels.map(({ client }) => close(client)));
  }

  placeOf(): string {
    return PRIMARY;
  }

  places(): readonly string[] {
    return [PRIMARY];
  }

  tagOf(): string {
    return PRIMARY;
  }

  async locate(): Promise<Endpoint> {
    if (this.#primary === null) await this.#lookout.now();
    if (this.#primary === null) throw new BusUnavailable(this.#problem ?? 'the sentinels name no primary');
    return this.#primary;
  }

  current(): Endpoint | null {
    return this.#primary;
  }

  look(): void {
    this.#lookout.soon();
  }

  moved(): void {
    throw new BusUnavailable(
      'a server behind the sentinels belongs to a Redis Cluster: use redis+cluster://',
    );
  }

  problem(): string | null {
    return this.#problem;
  }

  async #look(): Promise<void> {
    const answers = await Promise.all(this.#sentinels.map((sentinel) => this.#ask(sentinel)));
    let best: { endpoint: Endpoint; epoch: number } | null = null;
    for (const answer of answers) {
      if (answer !== null && (best === null || answer.epoch > best.epoch)) best = answer;
    }
    if (best === null) {
      this.#problem ??= 'no sentinel answers';
      return;
    }
    this.#problem = null;
    // Older than the known epoch: the sentinels that answered were cut off, unless they are the majority and
    // were set up again.
    const answered = answers.filter((answer) => answer !== null).length;
    if (best.epoch < this.#epoch && answered * 2 <= this.#sentinels.length) return;
    this.#epoch = best.epoch;
    const before = this.#primary;
    if (before !== null && endpointName(before) === endpointName(best.endpoint)) return;
    this.#primary = best.endpoint;
    if (before !== null) {
      this.#log.warn(
        { from: endpointName(before), to: endpointName(best.endpoint) },
        'the sentinels name another primary',
      );
    }
    this.#onChange();
  }

  async #ask({
    name,
    client,
  }: {
    name: string;
    client: Redis;
  }): Promise<{ endpoint: Endpoint; epoch: number } | null> {
    if (client.status !== 'ready') return null;
    try {
      const facts = factsOf(await client.call('SENTINEL', 'MASTER', this.#name));
      const endpoint = { host: facts.get('ip') ?? '', port: Number(facts.get('port')) };
      const epoch = Number(facts.get('config-epoch'));
      return endpoint.host === '' || !(endpoint.port > 0) ? null : { endpoint, epoch };
    } catch (error) {
      this.#problem = `sentinel ${name}: ${reasonOf(error)}`;
      return null;
    }
  }
}

/** Names and values in turn, or what the client makes of a map. */
function factsOf(answer: unknown): Map<string, string> {
  if (!Array.isArray(answer)) return new Map(Object.entries((answer ?? {}) as Record<string, string>));
  const facts = new Map<string, string>();
  for (let index = 0; index + 1 < answer.length; index += 2) {
    facts.set(String(answer[index]), String(answer[index + 1]));
  }
  return facts;
}
