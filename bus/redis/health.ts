import type { Logger } from 'pino';
import { type BusStatus, BusUnavailable } from '../bus.ts';
import { type Commands, reasonAt } from './commands.ts';
import type { Histories } from './histories.ts';
import type { Keys } from './keys.ts';
import { LineProbe } from './line-probe.ts';
import type { Link } from './link.ts';
import type { RedisOwner } from './owner.ts';
import { Parts } from './parts.ts';
import { warningsAbout } from './server-facts.ts';
import { RedisSettingsError } from './settings.ts';
import type { Line, Subscriptions } from './subscriptions.ts';
import type { Topology } from './topology.ts';

const PROBE_INTERVAL_MS = 1_500;
/** How long a subscription to another server may take before that counts as a problem, milliseconds. */
const FIRST_CONNECTION_MS = 2_500;
/** While something is wrong. */
const PROBE_AGAIN_MS = 500;

/** How long a start waits before it reports that it is waiting, milliseconds. */
const QUIET_MS = 1_000;
/**
 * Errors that waiting does not fix: refused credentials, a missing database, the wrong kind of server, a
 * certificate.
 */
const FOR_A_PERSON = new RegExp(
  'WRONGPASS|NOAUTH|NOPERM|invalid password|AUTH.* without any password|DB index|use redis\\+cluster|' +
    'no sharded pub/sub|certificate|altnames',
  'i',
);

export interface HealthParts {
  /** Channels and, with that, probes are sharded. */
  sharded: boolean;
  topology: Topology;
  commands: Commands;
  subscriptions: Subscriptions;
  histories: Histories;
  keys: Keys;
  owner: RedisOwner;
  /** Of this bus. */
  id: string;
  log: Logger;
  /**
   * Whether this program logs the settings that an operator should change; of several on one machine, one
   * does.
   */
  tellWarnings: boolean;
}

/** Another part's connection to the place of `key`. */
export interface WatchedLink {
  key: string;
  link: Link;
}

/**
 * Whether the bus works. A connection is not enough: Redis may refuse writes (full memory, a replica since a
 * failover), and a subscription may look alive and deliver nothing. So every second or two this asks every
 * server for its role, writes and announces something, and expects it back. It replaces a connection that
 * fails this.
 */
export class Health {
  readonly #with: HealthParts;
  readonly #parts = new Parts();
  readonly #probes = new Map<Line, LineProbe>();
  readonly #watched = new Set<WatchedLink>();
  readonly #warnings = new Map<string, string[]>();
  readonly #told = new Set<string>();
  #reason: string | null = 'not started';
  #since = Date.now();
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;
  #probing = false;
  #probeAgain = false;
  #changed: () => void = () => {};
  roundTripMs: number | null = null;
  subscriptionsReplaced = 0;

  constructor(parts: HealthParts) {
    this.#with = parts;
  }

  /**
   * Resolves once the bus works. Rejects with `BusUnavailable` and the reason if it does not within
   * `timeoutMs`; with `waiting` there is no such limit. Rejects with `RedisSettingsError` if waiting would
   * not help.
   */
  async start(timeoutMs: number, waiting?: (reason: string) => void): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    let told: string | null = null;
    this.probeNow();
    while (this.#reason !== null) {
      const reason = this.#reason;
      if (FOR_A_PERSON.test(reason)) throw new RedisSettingsError(`Redis: ${reason}`);
      const left = deadline - performance.now();
      if ((left <= 0 && waiting === undefined) || this.#stopped) throw new BusUnavailable(`Redis: ${reason}`);
      // Connecting takes a moment, which is not worth reporting.
      if (left < timeoutMs - QUIET_MS && reason !== told) {
        waiting?.(reason);
        told = reason;
      }
      await this.#change(waiting === undefined ? left : QUIET_MS);
    }
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const probe of this.#probes.values()) probe.stop();
    if (this.#reason === null) this.#since = Date.now();
    this.#reason = 'the bus was stopped';
    this.#changed();
  }

  status(): BusStatus {
    const warnings = [...this.#warnings.values()].flat();
    const problem = this.#with.topology.problem();
    if (problem !== null && this.#reason === null) warnings.push(problem);
    return {
      available: this.#reason === null,
      since: this.#since,
      ...(this.#reason !== null && { reason: this.#reason }),
      parts: this.#parts.list(),
      ...(warnings.length > 0 && { warnings }),
    };
  }

  watch(watched: WatchedLink): () => void {
    this.#watched.add(watched);
    return () => this.#watched.delete(watched);
  }

  /** A connection became usable or unusable, or servers changed. */
  connectionsChanged(): void {
    if (this.#stopped) return;
    const { links } = this.#with.commands;
    this.#parts.keep('commands', links.keys());
    for (const [place, link] of links) {
      if (!link.usable) this.#set('commands', place, link, link.reason);
    }
    this.#conclude();
    this.probeNow();
  }

  /** Something may have changed. */
  probeNow(): void {
    if (this.#probing) this.#probeAgain = true;
    else this.#schedule(0);
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.#timer = setTimeout(async () => {
      this.#probing = true;
      do {
        this.#probeAgain = false;
        await this.#probe();
      } while (this.#probeAgain && !this.#stopped);
      this.#probing = false;
      this.#schedule(this.#reason === null ? PROBE_INTERVAL_MS : PROBE_AGAIN_MS);
    }, delayMs);
  }

  async #probe(): Promise<void> {
    const { commands, subscriptions } = this.#with;
    subscriptions.ping();
    await Promise.all([...commands.links].map(([place, link]) => this.#probePlace(place, link)));
    if (this.#stopped) return;
    await this.#lookWhose();
    this.#probeWatched();
    for (const [line, probe] of this.#probes) {
      if ([...subscriptions.lines.values()].includes(line)) continue;
      probe.stop();
      this.#probes.delete(line);
    }
    this.#parts.keep('subscription', subscriptions.lines.keys());
    this.#parts.keep('commands', commands.links.keys());
    this.#conclude();
  }

  async #probePlace(place: string, link: Link): Promise<void> {
    const { commands, subscriptions, histories, topology, keys, id } = this.#with;
    if (!link.usable) {
      this.#set('commands', place, link, link.reason);
      return;
    }
    try {
      const key = keys.probe(topology.tagOf(place), id);
      const [{ history }] = await Promise.all([
        link.examine(),
        commands.do(key, (client) => client.set(key, '', 'PX', PROBE_INTERVAL_MS * 4)),
      ]);
      histories.note(place, history);
      await this.#lookAtSettings(place, link);
      this.#set('commands', place, link, null);
    } catch (error) {
      this.#set('commands', place, link, reasonAt(link, error));
      topology.look();
      // It does not answer, or is now a replica. After any other refusal, a new connection would be refused
      // as well.
      if (link.usable && /no answer within|timed out|replica|READONLY/.test(reasonAt(link, error))) {
        link.renew(reasonAt(link, error));
      }
      return;
    }
    const line = subscriptions.lines.get(place);
    if (line === undefined) return;
    if (!line.live) {
      // A line that connects for the first time is not missing, unless that takes long.
      if (!line.wasLive && performance.now() - line.openedAt < FIRST_CONNECTION_MS) return;
      this.#set('subscription', place, line.link, line.link.reason);
      return;
    }
    try {
      await this.#probeOf(place, line).send();
    } catch (error) {
      this.#set('subscription', place, line.link, reasonAt(link, error));
    }
  }

  async #lookWhose(): Promise<void> {
    try {
      await this.#with.owner.look();
    } catch (error) {
      // Its own part reports a server that does not answer.
      this.#with.log.debug({ err: error }, 'the installation of Redis is not known');
    }
  }

  #probeOf(place: string, line: Line): LineProbe {
    const { commands, subscriptions, topology, keys, id, sharded, log } = this.#with;
    const existing = this.#probes.get(line);
    if (existing !== undefined) return existing;
    const probe = new LineProbe(commands, line, keys.probe(topology.tagOf(place), id), sharded, {
      echoed: (roundTripMs) => {
        this.roundTripMs = roundTripMs;
        this.#set('subscription', place, line.link, null);
        this.#conclude();
      },
      failed: (reason) => {
        if (this.#stopped || !line.live) return;
        log.warn({ server: line.link.server, reason }, 'replacing the subscription to Redis');
        this.subscriptionsReplaced += 1;
        this.#set('subscription', place, line.link, reason);
        this.#conclude();
        topology.look();
        subscriptions.replace(line, reason);
      },
    });
    this.#probes.set(line, probe);
    return probe;
  }

  #probeWatched(): void {
    const { histories, log } = this.#with;
    const seen: string[] = [];
    for (const { key, link } of this.#watched) {
      seen.push(key);
      const now = histories.of(key);
      const its = link.facts?.history ?? '';
      if (link.usable && now !== null && its !== '' && its !== now) {
        log.warn({ server: link.server }, 'replacing a connection that stayed at a former primary');
        link.renew('stayed at a former primary');
      }
      this.#set('receipts', key, link, link.usable ? null : link.reason);
    }
    this.#parts.keep('receipts', seen);
  }

  /** Once for each server and each time it starts. */
  async #lookAtSettings(place: string, link: Link): Promise<void> {
    const { endpoint, facts } = link;
    const life = `${place} ${facts?.history}`;
    if (facts === null || endpoint === null || this.#told.has(life)) return;
    this.#told.add(life);
    let saves: string | null = null;
    if (facts.appendOnly === false) {
      // Managed servers may not allow reading their settings.
      const answer = (await link.client.config('GET', 'save').catch(() => [])) as string[];
      saves = answer[1] ?? null;
    }
    const warnings = warningsAbout(facts, saves, endpoint);
    this.#warnings.set(place, warnings);
    for (const warning of warnings) {
      if (this.#with.tellWarnings && !this.#told.has(warning)) this.#with.log.warn(warning);
      this.#told.add(warning);
    }
  }

  #set(
    name: 'commands' | 'subscription' | 'receipts',
    place: string,
    link: Link,
    reason: string | null,
  ): void {
    if (!this.#stopped) this.#parts.set(name, place, link.server, reason);
  }

  #conclude(): void {
    const { commands } = this.#with;
    for (const place of this.#warnings.keys()) if (!commands.links.has(place)) this.#warnings.delete(place);
    this.#become(this.#problem());
  }

  #problem(): string | null {
    const { topology, sharded } = this.#with;
    const bad = this.#parts.list().find(({ ok }) => !ok);
    if (bad !== undefined) return `${bad.name}: ${bad.reason}`;
    const [place, ...others] = topology.places();
    if (place === undefined) return topology.problem() ?? 'no server is known';
    const unknown = [place, ...others].find((each) => !this.#parts.has('commands', each));
    if (unknown !== undefined) return `${unknown}: not connected yet`;
    if (this.#with.owner.problem !== null) return this.#with.owner.problem;
    // In a cluster there is a subscription only where there is a channel.
    if (!sharded && !this.#parts.has('subscription', place)) return 'the subscription is not connected';
    return null;
  }

  #become(reason: string | null): void {
    if (this.#stopped) return;
    const was = this.#reason;
    this.#reason = reason;
    if ((was === null) !== (reason === null)) {
      this.#since = Date.now();
      if (reason === null) this.#with.log.info('Redis is available');
      else this.#with.log.warn({ reason }, 'Redis is not available');
    }
    this.#changed();
  }

  #change(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#changed = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
