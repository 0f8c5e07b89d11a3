import { hashSecret, newApiToken, newId } from '../identifiers.ts';
import { Problem } from '../problems.ts';
import type { ApiToken, Role } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import { recordChange } from './service-parts.ts';

/** Operators' API tokens; the store keeps their hashes only. Every method throws `Problem`. */
export class TokenService {
  readonly #store: Store;
  readonly #now: () => number;

  constructor(parts: { store: Store; now: () => number }) {
    this.#store = parts.store;
    this.#now = parts.now;
  }

  /** `ttl` in seconds; unlimited when absent. */
  async create(
    request: { name: string; role: Role; ttl?: number },
    actor: string,
  ): Promise<ApiToken & { token: string }> {
    return this.#store.transaction((tx) => this.#create(tx, request, actor));
  }

  async revoke(id: string, actor: string): Promise<void> {
    await this.#store.transaction(async (tx) => {
      const at = this.#now();
      if (!(await tx.apiTokens.revoke(id, at))) {
        throw new Problem('not-found', `There is no usable API token ${id}.`);
      }
      await recordChange(tx, at, actor, 'token.revoked', id, {});
    });
  }

  /**
   * Creates an admin token if no usable one exists. `keep` receives its text once, before the token is
   * stored: after a crash in between, that text is not valid and the next start creates another token.
   */
  async ensureFirst(keep: (token: string) => void | Promise<void>): Promise<void> {
    if (await this.#store.apiTokens.any('admin', this.#now())) return;
    await this.#store.transaction(async (tx) => {
      // If servers start at the same time on an empty database, the first one creates it, and the others then
      // see it.
      await tx.apiTokens.lockFirst();
      if (await tx.apiTokens.any('admin', this.#now())) return;
      const { token } = await this.#create(tx, { name: 'first admin', role: 'admin' }, 'system');
      await keep(token);
    });
  }

  async #create(
    tx: Store,
    request: { name: string; role: Role; ttl?: number },
    actor: string,
  ): Promise<ApiToken & { token: string }> {
    const at = this.#now();
    const { name, role, ttl } = request;
    const record: ApiToken = {
      id: newId('t'),
      name,
      role,
      createdAt: at,
      createdBy: actor,
      expiresAt: ttl === undefined ? null : at + ttl * 1000,
      revokedAt: null,
      lastUsedAt: null,
    };
    const token = newApiToken();
    await tx.apiTokens.create({ ...record, hash: hashSecret(token) });
    const detail = { name, role, expiresAt: record.expiresAt };
    await recordChange(tx, at, actor, 'token.created', record.id, detail);
    return { ...record, token };
  }
}
