/**
 * Canaries: each gateway worker keeps a device of its own, inside its process, to which administration
 * servers send a no-op every few seconds, so that the whole way down and up is known to work. Their ids have
 * a prefix that no other device may have: enrolment never gives it out, and gateways admit it over no socket.
 */
import { createHash } from 'node:crypto';

const PREFIX = 'canary.';
/** The command type of the no-op; no operator can give it. */
export const CANARY_COMMAND = 'canary';

/**
 * The id of a worker's canary, an identifier (F-6): the same for every life of that worker, so that nothing
 * grows.
 */
export function canaryOf(worker: string): string {
  return `${PREFIX}${createHash('sha256').update(worker).digest('base64url').slice(0, 22)}`;
}

export function isCanary(device: string): boolean {
  return device.startsWith(PREFIX);
}
