/**
 * Whom a certificate names. A gateway goes by its name, an administration server by `server:NAME`, which is
 * no name of a gateway: neither gets, renews or replaces what belongs to the other.
 */
import { ID_PATTERN } from '../protocol/index.ts';

const SERVER = 'server:';

export function serverSubject(name: string): string {
  return `${SERVER}${name}`;
}

/** Name of the administration server; `null` for a gateway. */
export function serverOf(subject: string): string | null {
  return subject.startsWith(SERVER) ? subject.slice(SERVER.length) : null;
}

/** The name alone. */
export function nameOf(subject: string): string {
  return serverOf(subject) ?? subject;
}

/** For people: `gateway gw1`, `server admin2`. */
export function called(subject: string): string {
  return `${serverOf(subject) === null ? 'gateway' : 'server'} ${nameOf(subject)}`;
}

export function isSubject(text: unknown): text is string {
  return typeof text === 'string' && ID_PATTERN.test(nameOf(text));
}
