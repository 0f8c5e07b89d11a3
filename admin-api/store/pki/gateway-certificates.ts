import { serverSubject } from '../../../bus/subjects.ts';
import type { GatewayCertificate, GatewayCertificates, Revocation } from '../pki-records.ts';
import type { GatewayCertificateTable } from '../sql/schema.ts';
import type { Scope } from '../sql/scope.ts';

export class SqlGatewayCertificates implements GatewayCertificates {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  create(certificate: GatewayCertificate): Promise<void> {
    const { serial, gateway, keyHash, authority, issuedAt, expiresAt, revokedAt } = certificate;
    return this.#scope.once(async (db) => {
      await db
        .insertInto('gateway_certificates')
        .values({
          serial,
          gateway,
          key_hash: keyHash,
          authority,
          issued_at: issuedAt,
          expires_at: expiresAt,
          revoked_at: revokedAt,
        })
        .execute();
    });
  }

  get(serial: string): Promise<GatewayCertificate | null> {
    return this.#scope.once(async (db) => {
      const row = await db
        .selectFrom('gateway_certificates')
        .selectAll()
        .where('serial', '=', serial)
        .executeTakeFirst();
      return row === undefined ? null : toCertificate(row);
    });
  }

  ofServers(): Promise<GatewayCertificate[]> {
    return this.#scope.once(async (db) => {
      const rows = await db
        .selectFrom('gateway_certificates')
        .selectAll()
        .where('gateway', 'like', `${serverSubject('')}%`)
        .orderBy('issued_at', 'desc')
        .orderBy('serial', 'desc')
        .execute();
      return rows.map(toCertificate);
    });
  }

  ofGateway(gateway: string): Promise<GatewayCertificate[]> {
    return this.#scope.once(async (db) => {
      const rows = await db
        .selectFrom('gateway_certificates')
        .selectAll()
        .where('gateway', '=', gateway)
        .orderBy('issued_at', 'desc')
        .orderBy('serial', 'desc')
        .execute();
      return rows.map(toCertificate);
    });
  }

  unexpired(now: number): Promise<GatewayCertificate[]> {
    return this.#scope.once(async (db) => {
      const rows = await db
        .selectFrom('gateway_certificates')
        .selectAll()
        .where('expires_at', '>', now)
        .execute();
      return rows.map(toCertificate);
    });
  }

  revoke(gateway: string, at: number): Promise<string[]> {
    return this.#scope.once(async (db) => {
      const rows = await db
        .updateTable('gateway_certificates')
        .set({ revoked_at: at })
        .where('gateway', '=', gateway)
        .where('revoked_at', 'is', null)
        .returning('serial')
        .execute();
      return rows.map(({ serial }) => serial);
    });
  }

  revocations(): Promise<Revocation[]> {
    return this.#scope.once(async (db) => {
      const rows = await db
        .selectFrom('gateway_certificates')
        .select(({ fn }) => [
          'gateway',
          fn.max('revoked_at').as('at'),
          fn.count<number>('revoked_at').as('revoked'),
          fn.countAll<number>().as('total'),
        ])
        .groupBy('gateway')
        .having(({ fn }) => fn.max('revoked_at'), 'is not', null)
        .orderBy('gateway')
        .execute();
      return rows.map(({ gateway, at, revoked, total }) => ({
        ...{ gateway, at: Number(at), all: Number(revoked) === Number(total) },
      }));
    });
  }

  countSince(gateway: string, issuedAt: number): Promise<number> {
    return this.#scope.once(async (db) => {
      const { total } = await db
        .selectFrom('gateway_certificates')
        .select(({ fn }) => fn.countAll<number>().as('total'))
        .where('gateway', '=', gateway)
        .where('issued_at', '>=', issuedAt)
        .executeTakeFirstOrThrow();
      return Number(total);
    });
  }

  prune(expiredBefore: number): Promise<number> {
    return this.#scope.once(async (db) => {
      const { numDeletedRows } = await db
        .deleteFrom('gateway_certificates')
        .where('expires_at', '<', expiredBefore)
        .where(({ or, eb, selectFrom }) =>
          or([
            eb('revoked_at', 'is', null),
            eb(
              'issued_at',
              '<',
              selectFrom('gateway_certificates as newer')
                .select(({ fn }) => fn.max('newer.issued_at').as('newest'))
                .whereRef('newer.gateway', '=', 'gateway_certificates.gateway'),
            ),
          ]),
        )
        .executeTakeFirstOrThrow();
      return Number(numDeletedRows);
    });
  }
}

function toCertificate(row: GatewayCertificateTable): GatewayCertificate {
  return {
    serial: row.serial,
    gateway: row.gateway,
    keyHash: row.key_hash,
    authority: row.authority,
    issuedAt: row.issued_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
  };
}
