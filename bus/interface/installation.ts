/** Which installation the bus serves. */

/**
 * One database, and every program that works for it. `id` is random and made with the database, an
 * identifier; `epoch` counts from 1 and grows when an older copy of the database was restored.
 */
export interface Installation {
  id: string;
  epoch: number;
}

/**
 * A MAC that proves that an administration server of the installation began an epoch; the same for the same
 * installation and epoch. Only they can make it, so nobody else who writes to the bus can raise the epoch.
 */
export interface EpochMac {
  of(installation: Installation): string;
}

/** Which installation the bus serves. Each installation that shares a Redis needs its own prefix. */
export interface Owner {
  /**
   * The installation of this program. A gateway has no database: it learns the installation here, once.
   * `null` until then.
   */
  readonly current: Installation | null;
  /** The latest epoch that the bus has, whoever wrote it there; 0 until it was looked at. */
  readonly seen: number;
  /**
   * An administration server claims the bus for its installation before it uses the bus in any other way.
   * Rejects with `ForeignInstallation` when the bus belongs to another installation, and with
   * `InstallationRestored` when a later epoch was seen. With `epochMac`, a later epoch that no server
   * made is corrected instead; without it, any epoch counts.
   */
  claim(own: Installation, epochMac?: EpochMac): Promise<void>;
  /**
   * The current installation of the bus, and the latest epoch it has seen; 0 for one that `epochMac` did
   * not make. `null`: none.
   */
  held(epochMac?: EpochMac): Promise<Installation | null>;
}

/** The bus serves another installation. */
export class ForeignInstallation extends Error {
  override readonly name = 'ForeignInstallation';
}

/** The database is older than what the bus has seen. */
export class InstallationRestored extends Error {
  override readonly name = 'InstallationRestored';
}
