import type { Store } from '../../admin-api/store/store.ts';

/** What a database under test offers. */
export interface StoreUnderTest {
  /** A started store on an empty database of its own. */
  fresh(): Promise<Store>;
  /**
   * Another store on the same database, as a second server has; SQLite has one server, and answers the same
   * store.
   */
  second(store: Store): Promise<Store>;
  /** Stops every store that was handed out since the last call. */
  cleanUp(): Promise<void>;
}

export type Rule = (title: string, body: (store: Store) => Promise<void>) => void;
