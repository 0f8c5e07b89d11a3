import type { Logger } from 'pino';
import type { Dependency } from '../../health/health.ts';
import type { GatewayIdentity } from './identity.ts';
import type { IdentityFiles } from './identity-files.ts';
import { renew } from './join-request.ts';
import type { Joiner } from './joiner.ts';

const LOOK_MS = 5_000;
/** After a renewal that was refused. */
const RETRY_MS = 3_600_000;
/** Between renewals that were asked for: whoever writes to Redis can ask. */
const ASKED_MS = 60_000;
/** Of its life; gateways that joined together do not renew together. */
const RENEW_AT = 2 / 3;
const JITTER = 0.05;

export interface RenewalParts {
  joiner: Joiner;
  files: IdentityFiles;
  log: Logger;
  /** By the clock of the bus. */
  now: () => number;
  /** Of the installation; a later one does not know what was issued before the backup that it began with. */
  epoch: () => number;
  /** A certificate that was issued before this is to be renewed; 0 while that is not known. */
  renewAfter: () => Promise<number>;
  health: Dependency;
  /** 0 to 1; `Math.random` when absent. */
  random?: () => number;
}

/** Renews the identity of a gateway at two thirds of its life, give or take a twentieth of it. */
export class Renewals {
  readonly #parts: RenewalParts;
  #identity: GatewayIdentity;
  #renewAt: number;
  #notBefore = 0;
  #askedBefore = 0;
  #timer: NodeJS.Timeout | undefined;
  #renewing: Promise<void> | null = null;

  constructor(parts: RenewalParts, identity: GatewayIdentity) {
    this.#parts = parts;
    this.#identity = identity;
    this.#renewAt = this.#due(identity);
  }

  get identity(): GatewayIdentity {
    return this.#identity;
  }

  /** When it is renewed, milliseconds since the Unix epoch. */
  get renewAt(): number {
    return this.#renewAt;
  }

  start(): void {
    void this.look();
    this.#timer = setInterval(() => void this.look(), LOOK_MS);
  }

  /** The joiner is stopped before: what it waits for ends. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#renewing;
  }

  /** Renews if it is time; resolves when that is over. Never rejects. */
  async look(): Promise<void> {
    const { now, health, renewAfter } = this.#parts;
    if (now() >= this.#identity.expiresAt) {
      health.bad('the certificate has expired: join again with a token or approval');
    }
    const isRestored = this.#parts.epoch() > this.#identity.epoch;
    const asked = await renewAfter();
    const isOutdated =
      asked <= now() && asked > this.#identity.issuedAt && now() >= this.#askedBefore + ASKED_MS;
    if (isOutdated) this.#askedBefore = now();
    const isDue = now() >= this.#renewAt || isRestored || isOutdated;
    if (!isDue || now() < this.#notBefore) return;
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = null;
    });
    await this.#renewing;
  }

  async #renew(): Promise<void> {
    const { joiner, files, log, now, health } = this.#parts;
    try {
      const outcome = await joiner.outcomeOf(await renew(this.#identity, now()));
      if ('refused' in outcome) {
        this.#notBefore = now() + RETRY_MS;
        health.bad(outcome.refused);
        log.error({ why: outcome.refused }, 'the certificate was not renewed');
        return;
      }
      files.keep(outcome);
      this.#identity = outcome;
      this.#renewAt = this.#due(outcome);
      health.good();
      log.info({ serial: outcome.serial }, 'the certificate was renewed');
    } catch (error) {
      if ((error as Error).name !== 'AbortError')
        log.error({ err: error }, 'the certificate was not renewed');
    }
  }

  #due({ issuedAt, expiresAt }: GatewayIdentity): number {
    const { random = Math.random } = this.#parts;
    return issuedAt + (expiresAt - issuedAt) * (RENEW_AT + JITTER * (2 * random() - 1));
  }
}
