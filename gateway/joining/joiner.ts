import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Bus, BusUnavailable, JOINS } from '../../bus/bus.ts';
import { fingerprintText } from '../../bus/join-messages.ts';
import { nameOf, serverOf } from '../../bus/subjects.ts';
import type { TokenParts } from '../../protocol/index.ts';
import type { GatewayIdentity, Joined, PendingJoin } from './identity.ts';
import type { IdentityFiles } from './identity-files.ts';
import { type JoinRefusal, openJoinAnswer } from './join-answer.ts';
import { joinByApproval, joinByToken } from './join-request.ts';

const LOOK_MS = 500;
/** A request is repeated long before the bus forgets it. */
const ASK_AGAIN_MS = JOINS.keptMs / 10;

/** The administration server refuses this program, and says why. */
export class JoinRefused extends Error {
  override readonly name = 'JoinRefused';
}

export interface JoinerParts {
  bus: Pick<Bus, 'joins' | 'clock'>;
  log: Logger;
  files: IdentityFiles;
  /** Whom the certificate is for: a gateway's name, or `serverSubject` of an administration server's. */
  gateway: string;
  /** Stores the key of the installation's secrets, which a server gets when it joins. */
  keepKey?: (key: Uint8Array) => void;
  /** How often the answer is looked for, milliseconds. */
  lookMs?: number;
}

/** How a program without an identity asks for one. */
export type JoinBy = { token: TokenParts } | { fingerprint: Uint8Array };

export class Joiner {
  readonly #parts: JoinerParts;
  readonly #life = new AbortController();

  constructor(parts: JoinerParts) {
    this.#parts = parts;
  }

  stop(): void {
    this.#life.abort();
  }

  /**
   * Resolves once there is an identity, which the files then hold. A request without an answer continues
   * after a restart. Rejects with `JoinRefused`, and with `AbortError` when it is stopped.
   */
  async join(by: JoinBy): Promise<GatewayIdentity> {
    const { files, log, gateway, keepKey } = this.#parts;
    const pending = await this.#pending(by);
    if (pending.by === 'approval') {
      const installation = Buffer.from(pending.fingerprint).toString('base64url');
      const request = fingerprintText(pending.id);
      log.warn(
        { ...named(gateway), request, installation },
        `waiting for approval: pushpoint ${approvedBy(gateway)} ${request}`,
      );
    }
    const outcome = await this.outcomeOf(pending);
    if ('refused' in outcome) {
      files.dropPending();
      throw new JoinRefused(outcome.refused);
    }
    const { secretsKey, ...identity } = outcome;
    // First: if this program is killed in between, it asks again with the same request.
    if (secretsKey) keepKey?.(secretsKey);
    files.keep(identity);
    log.info({ ...named(gateway), serial: identity.serial }, 'joined the installation');
    return identity;
  }

  /**
   * Asks until there is an answer that the installation signed; ignores any other. `null`: none came within
   * `forMs`.
   */
  outcomeOf(pending: PendingJoin): Promise<Joined | JoinRefusal>;
  outcomeOf(pending: PendingJoin, forMs: number): Promise<Joined | JoinRefusal | null>;
  async outcomeOf(
    pending: PendingJoin,
    forMs = Number.POSITIVE_INFINITY,
  ): Promise<Joined | JoinRefusal | null> {
    const { bus, log, lookMs = LOOK_MS } = this.#parts;
    let askedAt = Number.NEGATIVE_INFINITY;
    let forged: Uint8Array | null = null;
    const until = performance.now() + forMs;
    while (performance.now() < until) {
      try {
        const answer = await bus.joins.answerTo(pending.id);
        const isNew = answer !== null && (forged === null || !Buffer.from(forged).equals(answer));
        const outcome = isNew ? await openJoinAnswer(pending, answer) : null;
        if (outcome) return outcome;
        if (isNew) {
          forged = answer;
          askedAt = Number.NEGATIVE_INFINITY;
          log.error({ request: pending.id }, 'an answer that this installation did not sign is ignored');
        }
        if (performance.now() - askedAt > ASK_AGAIN_MS) {
          const asked = await bus.joins.ask(pending.id, pending.request);
          if (asked === 'full') log.warn('too many requests to join are pending: trying again');
          else askedAt = performance.now();
        }
      } catch (error) {
        if (!(error instanceof BusUnavailable)) throw error;
      }
      await pause(lookMs, undefined, { signal: this.#life.signal });
    }
    return null;
  }

  async #pending(by: JoinBy): Promise<PendingJoin> {
    const { bus, files, gateway } = this.#parts;
    const fingerprint = 'token' in by ? by.token.fingerprint : by.fingerprint;
    const kept = files.readPending();
    const isSame =
      kept !== null &&
      kept.gateway === gateway &&
      kept.by === ('token' in by ? 'token' : 'approval') &&
      kept.token === ('token' in by ? by.token.id : undefined) &&
      Buffer.from(kept.fingerprint).equals(fingerprint);
    if (isSame) return kept;
    const at = bus.clock.now();
    const pending =
      'token' in by
        ? await joinByToken(gateway, by.token, at)
        : await joinByApproval(gateway, by.fingerprint, at);
    files.keepPending(pending);
    return pending;
  }
}

function named(subject: string): { gateway: string } | { server: string } {
  return serverOf(subject) === null ? { gateway: subject } : { server: nameOf(subject) };
}

/** The command with which an operator lets it in. */
function approvedBy(subject: string): string {
  return serverOf(subject) === null ? 'gateways approve' : 'servers approve';
}
