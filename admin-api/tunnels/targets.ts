/** Which targets a tunnel may have, and who may open it. */
import { Problem } from '../problems.ts';
import { ROLES, type Role } from '../store/records.ts';

/** Remote desktop: it gives access to the whole device. */
const REMOTE_DESKTOP_PORT = 3389;

export const DEFAULT_TUNNEL_HOST = '127.0.0.1';

/** A name or address; the schema checks the form. Host names ignore case. */
export function tunnelHost(host: string | undefined): string {
  return (host ?? DEFAULT_TUNNEL_HOST).toLowerCase();
}

/** The device itself, in one of the forms that can mean nothing else. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}$/.test(host);
}

/** Throws `Problem` unless that role may open a tunnel there. */
export function checkRight(role: Role, { host, port }: { host: string; port: number }): void {
  const needs = isLoopback(host) && port !== REMOTE_DESKTOP_PORT ? 'operator' : 'admin';
  if (ROLES.indexOf(role) >= ROLES.indexOf(needs)) return;
  const what =
    needs === 'operator'
      ? 'Tunnels need'
      : isLoopback(host)
        ? `A tunnel to port ${port} needs`
        : 'A tunnel to another host than the device itself needs';
  throw new Problem('forbidden', `${what} a token with the role ${needs}; yours is ${role}.`);
}
