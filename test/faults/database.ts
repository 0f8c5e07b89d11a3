/** What the database holds, read behind the administration server's back. */
import { DatabaseSync } from '@photostructure/sqlite';
import { stateOf } from '../../admin-api/store/sql/state-codes.ts';
import type { ExecutionState } from '../../protocol/index.ts';
import { queryPostgres } from '../services/postgres.ts';

export interface ExecutionRow {
  command: string;
  device: string;
  state: ExecutionState;
}

export interface Changes {
  /** In the order in which they were recorded. */
  changes: ExecutionRow[];
  /** Number of the last event, for the next call. */
  last: number;
}

type Query = (sql: string) => Promise<Record<string, unknown>[]>;

export class Database {
  readonly #query: Query;

  /** Path of a SQLite file, or URL of a PostgreSQL database. */
  constructor(where: string) {
    this.#query = where.startsWith('postgres') ? postgres(where) : sqlite(where);
  }

  async commands(): Promise<string[]> {
    return (await this.#query('select id from commands')).map(({ id }) => String(id));
  }

  async executions(commands: ReadonlySet<string>): Promise<ExecutionRow[]> {
    const rows = await this.#query('select command_id, device_id, state from executions');
    return rows
      .map((row) => ({
        command: String(row.command_id),
        device: String(row.device_id),
        state: stateOf(Number(row.state)),
      }))
      .filter(({ command }) => commands.has(command));
  }

  /** Changes of executions recorded after event number `after`. */
  async changes(after: number): Promise<Changes> {
    const rows = await this.#query(
      `select seq, data_json from events where type = 'executions' and seq > ${after} order by seq`,
    );
    const changes = rows.flatMap(({ data_json }) => {
      const data = JSON.parse(String(data_json)) as { changes: [string, string, ExecutionState][] };
      return data.changes.map(([command, device, state]) => ({ command, device, state }));
    });
    return { changes, last: Number(rows.at(-1)?.seq ?? after) };
  }
}

function sqlite(path: string): Query {
  return async (sql) => {
    const database = new DatabaseSync(path, { readOnly: true });
    try {
      return database.prepare(sql).all() as Record<string, unknown>[];
    } finally {
      database.close();
    }
  };
}

function postgres(url: string): Query {
  return (sql) => queryPostgres(url, sql);
}
