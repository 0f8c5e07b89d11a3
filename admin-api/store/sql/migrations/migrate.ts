import { type Kysely, sql } from 'kysely';
import type { Schema } from '../schema.ts';
import type { SqlDialect } from '../sql-dialect.ts';

/**
 * Brings the database to this version's schema, with all steps in one transaction. Two servers that start at
 * once do it one after the other. Throws if a newer version has migrated the database: running on it could
 * destroy data of the newer version.
 */
export async function migrate(db: Kysely<Schema>, dialect: SqlDialect, now: number): Promise<void> {
  const newest = dialect.migrations.length;
  await db.transaction().execute(async (tx) => {
    // Indices of large tables take minutes, and so does waiting for another server that builds them.
    if (dialect.kind === 'postgres') await sql`set local statement_timeout = 0`.execute(tx);
    await dialect.lock(tx, 'migrate');
    await sql`create table if not exists migrations (
      number integer primary key, name text not null, applied_at bigint not null)`.execute(tx);
    const { number: done } = await tx
      .selectFrom('migrations')
      .select(sql<number>`coalesce(max(number), 0)`.as('number'))
      .executeTakeFirstOrThrow();
    if (done > newest) {
      throw new Error(
        `the database was migrated by a newer version of Pushpoint (step ${done}, this version knows ` +
          `${newest}): ` +
          'start that version, or restore an earlier backup of the database',
      );
    }
    for (const step of dialect.migrations.slice(done)) {
      for (const statement of step.statements) await sql.raw(statement).execute(tx);
      await tx
        .insertInto('migrations')
        .values({ number: step.number, name: step.name, applied_at: now })
        .execute();
    }
  });
}
