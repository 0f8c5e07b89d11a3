/**
 * Canaries. Each gateway worker runs a device inside its own process. Administration servers send it a no-op
 * every few seconds to prove that the whole path down and up works. Canary ids have a reserved prefix:
 * enrolment never assigns it, and gateways admit it over no socket.
 */
import { createHash } from 'node:crypto';

const PREFIX = 'canary.';
/** The command type of the no-op; no operator can give it. */
export const CANARY_COMMAND = 'canary';

/**
 * The id of a worker's canary, an identifier (F-6). It stays the same over restarts, so that no records pile
 * up.
 */
export function canaryOf(worker: string): string {
  return `${PREFIX}${createHash('sha256').update(worker).digest('base64url').slice(0, 22)}`;
}

export function isCanary(device: string): boolean {
  return device.startsWith(PREFIX);
}
