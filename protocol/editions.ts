/**
 * What devices compare: the installation's epoch, which grows when an older copy of its database is restored,
 * and a revision within it.
 */
export type Edition = readonly [epoch: number, revision: number];

/** Of a device that holds none. */
export const NO_EDITION: Edition = [0, 0];

/** The epoch decides, then the revision. */
export function isNewer([epoch, revision]: Edition, than: Edition): boolean {
  return epoch > than[0] || (epoch === than[0] && revision > than[1]);
}

export function editionOf({ epoch, revision }: { epoch: number; revision: number }): Edition {
  return [epoch, revision];
}
