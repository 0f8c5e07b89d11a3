/** Presence: which worker holds a device. */

export interface Holder {
  incarnation: string;
  session: number;
}

export interface PresenceClaim {
  device: string;
  /**
   * Absent: claim the device, whoever holds it (a new connection). Present: claim it only if nobody or this
   * very session holds it (a worker that lost its lease claims its devices again).
   */
  heldSession?: number;
}

export interface Presence {
  /**
   * For each claim, in order: the new holder's session number, larger than any earlier one of that device,
   * and who held it before; or `null` when a newer session holds it (only with `heldSession`).
   */
  claim(
    incarnation: string,
    claims: readonly PresenceClaim[],
  ): Promise<({ session: number; previous?: Holder } | null)[]>;
  /** Removes each device's presence if that session still holds it (compare-and-delete). */
  release(incarnation: string, sessions: readonly { device: string; session: number }[]): Promise<void>;
  /**
   * Who holds each device, in order; a holder whose lease is gone may still be named: compare with
   * `Leases.list`.
   */
  locate(devices: readonly string[]): Promise<(Holder | null)[]>;
  /**
   * Removes entries of holders whose leases are gone. Checks about `limit` entries and continues there next
   * time, so occasional calls eventually clear everything that killed workers left behind. Returns the number
   * removed.
   */
  sweep(limit: number): Promise<number>;
}
