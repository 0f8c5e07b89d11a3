/** The administration server's database, opened beside it. */
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { secretBox } from '../../admin-api/at-rest/key-file.ts';
import type { KeyPair } from '../../admin-api/keys/key-vault.ts';
import { ServerKeys } from '../../admin-api/keys/server-keys.ts';
import type { Meta } from '../../admin-api/store/store.ts';

export class Database {
  readonly #folder: string;

  /** `folder`: the data folder of the server. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The keys that sign, and the root key. */
  async keys(): Promise<{ server: ServerKeys; root: KeyPair }> {
    const database = this.#open(true);
    try {
      const get = async (key: string) => {
        const row = database.prepare('select value from meta where key = ?').get(key);
        return (row as { value: string } | undefined)?.value ?? null;
      };
      const box = secretBox({ ownFile: join(this.#folder, 'secrets.key') });
      const server = await ServerKeys.load({ meta: { get } as unknown as Meta, box });
      const root = await server.vault().find('root key', server.keys.root);
      if (!root) throw new Error('the root key is not here');
      return { server, root };
    } finally {
      database.close();
    }
  }

  /** What only the passing of time, or an operation that is not there yet, would change. */
  change(statement: string, ...values: (string | number)[]): void {
    const database = this.#open(false);
    try {
      database.exec('pragma busy_timeout = 10000');
      database.prepare(statement).run(...values);
    } finally {
      database.close();
    }
  }

  #open(readOnly: boolean) {
    return new DatabaseSync(join(this.#folder, 'pushpoint.db'), { readOnly });
  }
}
