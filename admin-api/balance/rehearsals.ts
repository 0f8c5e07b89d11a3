/**
 * Groups whose id begins with this hold simulated devices of a rehearsal (`pushpoint rehearse`). Balancing
 * ignores them: it would move them back to the gateway that the rehearsal takes away, and real devices as
 * well.
 */
export const REHEARSAL_PREFIX = 'rehearsal.';

export function isRehearsal(groupId: string): boolean {
  return groupId.startsWith(REHEARSAL_PREFIX);
}
