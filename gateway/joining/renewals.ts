import type { Logger } from 'pino';
import type { Dependency } from '../../health/health.ts';
import { Allowance } from './allowance.ts';
import type { GatewayIdentity } from './identity.ts';
import type { IdentityFiles } from './identity-files.ts';
import { renew } from './join-request.ts';
import type { Joiner } from './joiner.ts';

const LOOK_MS = 5_000;
/** Pause after a refused renewal. */
const RETRY_MS = 3_600_000;
/** Servers drop a renewal that is 10 minutes old: before that it is asked for with a new time. */
const FRESH_MS = 300_000;
/** Requested renewals: whoever writes to Redis can request one. A rotation requests one in each phase. */
const ASKED = { atOnce: 4, everyMs: 60_000 };
const RENEW_AT = 2 / 3;
/** Spread, as a share of its life, so that gateways that joined together do not renew together. */
const JITTER = 0.05;

export interface RenewalParts {
  joiner: Joiner;
  files: IdentityFiles;
  log: Logger;
  /** By the clock of the bus. */
  now: () => number;
  /** The latest on the bus. One that began with a backup may not contain this certificate. */
  epoch: () => number;
  /** Called once a new certificate is stored. */
  renewed?: () => void;
  /** Certificates issued before this must be renewed; 0 while unknown. */
  renewAfter: () => Promise<number>;
  health: Dependency;
  /** The certificate is worth nothing any more, and is dropped. */
  over: (why: string) => void;
  /** 0 to 1; `Math.random` when absent. */
  random?: () => number;
  /** How long one request waits for its answer, milliseconds. */
  freshMs?: number;
}

/** Renews the identity of a gateway or a server at two thirds of its life, plus or minus a twentieth. */
export class Renewals {
  readonly #parts: RenewalParts;
  readonly #asked: Allowance;
  #identity: GatewayIdentity;
  #renewAt: number;
  #notBefore = 0;
  /** One was begun and has no answer. */
  #begun = false;
  /** The last epoch on the bus that the server does not have. */
  #false = 0;
  #timer: NodeJS.Timeout | undefined;
  #renewing: Promise<void> | null = null;

  constructor(parts: RenewalParts, identity: GatewayIdentity) {
    this.#parts = parts;
    this.#asked = new Allowance(ASKED, parts.now);
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
    const { now, health } = this.#parts;
    if (now() >= this.#identity.expiresAt) {
      health.bad('the certificate has expired: join again with a token or approval');
    }
    if (this.#renewing === null && (await this.#isDue()) && now() >= this.#notBefore) {
      this.#renewing ??= this.#renew().finally(() => {
        this.#renewing = null;
      });
    }
    await this.#renewing;
  }

  async #isDue(): Promise<boolean> {
    const { now, epoch, renewAfter } = this.#parts;
    if (this.#begun || now() >= this.#renewAt) return true;
    const asked = await renewAfter();
    const isOutdated = asked <= now() && asked > this.#identity.issuedAt;
    const isRestored = epoch() > this.#identity.installation.epoch && epoch() !== this.#false;
    return (isOutdated || isRestored) && this.#asked.take();
  }

  async #renew(): Promise<void> {
    const { joiner, log, now, epoch, freshMs = FRESH_MS } = this.#parts;
    const seen = epoch();
    this.#begun = true;
    try {
      const outcome = await joiner.outcomeOf(await renew(this.#identity, now()), freshMs);
      if (outcome === null) {
        log.warn('the certificate is not renewed yet: no administration server has answered; asking again');
        return;
      }
      this.#begun = false;
      if ('refused' in outcome) this.#refused(outcome);
      else this.#renewed(outcome, seen);
    } catch (error) {
      if ((error as Error).name !== 'AbortError')
        log.error({ err: error }, 'the certificate was not renewed');
    }
  }

  #renewed(identity: GatewayIdentity, seen: number): void {
    const { files, log, health } = this.#parts;
    files.keep(identity);
    this.#identity = identity;
    this.#renewAt = this.#due(identity);
    health.good();
    log.info({ serial: identity.serial }, 'the certificate was renewed');
    this.#parts.renewed?.();
    const { epoch } = identity.installation;
    if (seen <= epoch) return;
    this.#false = seen;
    log.error({ seen, epoch }, 'an epoch in Redis is not that of the administration server, and is ignored');
  }

  #refused({ refused, over }: { refused: string; over: boolean }): void {
    const { files, log, now, health } = this.#parts;
    health.bad(refused);
    log.error({ why: refused }, 'the certificate was not renewed');
    this.#notBefore = now() + RETRY_MS;
    if (!over) return;
    files.drop();
    this.#parts.over(refused);
  }

  #due({ issuedAt, expiresAt }: GatewayIdentity): number {
    const { random = Math.random } = this.#parts;
    return issuedAt + (expiresAt - issuedAt) * (RENEW_AT + JITTER * (2 * random() - 1));
  }
}
