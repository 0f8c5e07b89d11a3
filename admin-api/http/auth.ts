import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { StoreWatch } from '../health/store-watch.ts';
import { hashSecret } from '../identifiers.ts';
import { Problem } from '../problems.ts';
import { ROLES, type Role } from '../store/records.ts';
import type { ApiTokens } from '../store/store.ts';

/** Who may call a route: `open` for anybody, otherwise at least this role. */
export type Access = Role | 'open';

/** Records that this caller was refused; the request's body has been read but not validated. */
export type RouteRefusal = (caller: Caller, request: FastifyRequest) => Promise<void>;

export interface Caller {
  tokenId: string;
  role: Role;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
    refused?: RouteRefusal;
    /** The answer lasts as long as the caller stays connected. */
    endless?: boolean;
  }
  interface FastifyRequest {
    caller: Caller | null;
    /** Why the caller was refused, on routes that record it. */
    refusal: Problem | null;
  }
}

const TOKEN = /^Bearer +(ppt_[A-Za-z0-9_-]{32})$/i;
const CACHE_ENTRIES = 10_000;
const TOUCH_EVERY_MS = 60_000;

interface Known {
  caller: Caller;
  /** Until when this counts without asking the store. */
  until: number;
  expiresAt: number;
}

/**
 * Finds the API token of a request. It compares SHA-256 hashes, never the text: timing reveals nothing about
 * a token, because nobody can choose the hash of a guess. A result counts for `cacheMs`, so a revoked token
 * ends at most that much later.
 */
export class Authenticator {
  readonly #tokens: ApiTokens;
  readonly #now: () => number;
  readonly #log: Logger;
  readonly #cacheMs: number;
  /** By hash, the oldest first. */
  readonly #known = new Map<string, Known>();
  /** When each token's use was last recorded; bounded by the number of tokens that exist. */
  readonly #touched = new Map<string, number>();

  constructor(parts: { tokens: ApiTokens; now: () => number; log: Logger; cacheMs: number }) {
    this.#tokens = parts.tokens;
    this.#now = parts.now;
    this.#log = parts.log;
    this.#cacheMs = parts.cacheMs;
  }

  /**
   * Returns a promise only if it has to ask the store: nearly every request is then done with in one turn.
   * Throws `Problem` if there is no usable token.
   */
  authenticate(authorization: string | undefined): Caller | Promise<Caller> {
    if (authorization === undefined) {
      throw new Problem('unauthorized', 'Send an API token: Authorization: Bearer ppt_...');
    }
    const token = TOKEN.exec(authorization)?.[1];
    if (token === undefined) throw invalid();
    const hash = hashSecret(token);
    const key = hash.toString('latin1');
    const now = this.#now();
    const known = this.#known.get(key);
    return known && known.until > now ? this.#admitted(known, now) : this.#lookUp(hash, key, now);
  }

  #admitted({ caller, expiresAt }: Known, now: number): Caller {
    if (expiresAt <= now) throw invalid();
    this.#touch(caller.tokenId, now);
    return caller;
  }

  async #lookUp(hash: Uint8Array, key: string, now: number): Promise<Caller> {
    this.#known.delete(key);
    const token = await this.#tokens.byHash(hash);
    if (!token || token.revokedAt !== null) throw invalid();
    const known = {
      caller: { tokenId: token.id, role: token.role },
      until: now + this.#cacheMs,
      expiresAt: token.expiresAt ?? Number.POSITIVE_INFINITY,
    };
    const caller = this.#admitted(known, now);
    if (this.#known.size >= CACHE_ENTRIES) this.#known.delete(this.#known.keys().next().value as string);
    this.#known.set(key, known);
    return caller;
  }

  #touch(id: string, now: number): void {
    if (now - (this.#touched.get(id) ?? Number.NEGATIVE_INFINITY) < TOUCH_EVERY_MS) return;
    this.#touched.set(id, now);
    this.#tokens.touch(id, now).catch((error) => this.#log.warn({ err: error }, 'token use not recorded'));
  }
}

function invalid(): Problem {
  return new Problem('unauthorized', 'This API token is unknown, revoked or expired.');
}

/** Admits each request by its route's `access`. A route under /v1 without `access` cannot be registered. */
export function useAuth(app: FastifyInstance, authenticator: Authenticator, watch: StoreWatch): void {
  app.decorateRequest('caller', null);
  app.decorateRequest('refusal', null);
  app.addHook('onRoute', ({ url, config }) => {
    if (url.startsWith('/v1') && config?.access === undefined) throw new Error(`${url}: who may call it?`);
  });
  app.addHook('onRequest', (request, _reply, done) => {
    const access = request.routeOptions.config.access ?? 'open';
    if (access === 'open') return done();
    let caller: Caller | Promise<Caller>;
    try {
      watch.assertAvailable('read');
      caller = authenticator.authenticate(request.headers.authorization);
    } catch (error) {
      return done(error as Error);
    }
    const admit = (known: Caller) => done(admission(request, access, known));
    if (!(caller instanceof Promise)) return admit(caller);
    const asked = caller;
    watch.guard('read', () => asked).then(admit, done);
  });
  app.addHook('preValidation', (request, _reply, done) => {
    const { refusal, caller } = request;
    if (!refusal || !caller) return done();
    const record = request.routeOptions.config.refused?.(caller, request);
    Promise.resolve(record).then(() => done(refusal), done);
  });
}

/** Sets the request's caller; returns the refusal, unless the route records it first. */
function admission(request: FastifyRequest, access: Role, caller: Caller): Problem | undefined {
  request.caller = caller;
  if (ROLES.indexOf(caller.role) >= ROLES.indexOf(access)) return undefined;
  const why = `This needs a token with the role ${access}; yours is ${caller.role}.`;
  const refusal = new Problem('forbidden', why);
  if (!request.routeOptions.config.refused) return refusal;
  request.refusal = refusal;
  return undefined;
}

/** The id of the API token of a request on a route that is not open. */
export function actorOf(request: FastifyRequest<object>): string {
  return callerOf(request).tokenId;
}

/** The same with its role. */
export function callerOf(request: FastifyRequest<object>): Caller {
  if (!request.caller) throw new Error('an open route has no caller');
  return request.caller;
}
