/**
 * Groups whose id begins with this hold simulated devices of a rehearsal (`pushpoint rehearse`). Balancing
 * leaves them out: it would move them back to the gateway they rehearse to live without, and real devices
 * with them.
 */
export const REHEARSAL_PREFIX = 'rehearsal.';

export function isRehearsal(groupId: string): boolean {
  return groupId.startsWith(REHEARSAL_PREFIX);
}
