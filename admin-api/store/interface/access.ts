/** Tokens and the audit trail. */
import type { ApiToken, AuditEntry, EnrolmentToken, Page, PageRequest, Role, TimeSpan } from '../records.ts';

export interface EnrolmentTokens {
  create(token: EnrolmentToken): Promise<void>;
  list(page: PageRequest): Promise<Page<EnrolmentToken>>;
  /** In any state. */
  get(id: string): Promise<EnrolmentToken | null>;
  /** Takes one use unless the token is revoked, expired or used up; says why it did not. */
  use(
    id: string,
    now: number,
  ): Promise<{ token: EnrolmentToken } | { refused: 'unknown' | 'revoked' | 'expired' | 'used-up' }>;
  revoke(id: string, at: number): Promise<boolean>;
}

export interface ApiTokens {
  create(token: ApiToken & { hash: Uint8Array }): Promise<void>;
  list(page: PageRequest): Promise<Page<ApiToken>>;
  byHash(hash: Uint8Array): Promise<ApiToken | null>;
  revoke(id: string, at: number): Promise<boolean>;
  /** Whether a usable token of that role exists. */
  any(role: Role, now: number): Promise<boolean>;
  /** Locks until the transaction ends, for servers that create the first token at the same time. */
  lockFirst(): Promise<void>;
  touch(id: string, at: number): Promise<void>;
}

export interface NewAuditEntry {
  at: number;
  actor: string;
  action: string;
  subject: string;
  detail: unknown;
}

export interface Audit {
  /** In this order. */
  append(...entries: readonly NewAuditEntry[]): Promise<void>;
  /** Newest first. */
  list(page: PageRequest & TimeSpan): Promise<Page<AuditEntry>>;
}
