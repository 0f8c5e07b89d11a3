import type { Logger } from 'pino';
import type { Dependency } from '../../health/health.ts';
import type { GatewayIdentity } from './identity.ts';
import type { IdentityFiles } from './identity-files.ts';
import { renew } from './join-request.ts';
import type { Joiner } from './joiner.ts';

const LOOK_MS = 5_000;
/** Pause after a refused renewal. */
const RETRY_MS = 3_600_000;
/** Shortest time between requested renewals: whoever writes to Redis can request one. */
const ASKED_MS = 60_000;
/** Spread, as a share of its life, so that gateways that joined together do not renew together. */
const RENEW_AT = 2 / 3;
const JITTER = 0.05;

export interface RenewalParts {
  joiner: Joiner;
  files: IdentityFiles;
  log: Logger;
  /** By the clock of the bus. */
  now: () => number;
  /** The installation's epoch. A later epoch began with a backup, which may not contain this certificate. */
  epoch: () => number;
  /** Certificates issued before this must be renewed; 0 while unknown. */
  renewAfter: () => Promise<number>;
  health: Dependency;
  /** 0 to 1; `Math.random` when absent. */
  random?: () => number;
}

/** Renews a gateway's identity at two thirds of its life, plus or minus a twentieth. */
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

  /** When the next renewal is due, milliseconds since the Unix epoch. */
  get renewAt(): number {
    return this.#renewAt;
  }

  start(): void {
    void this.look();
    this.#timer = setInterval(() => void this.look(), LOOK_MS);
  }

  /** Stop the joiner first, which ends the wait. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#renewing;
  }

  /** Renews if due; resolves when that is done. Never rejects. */
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
