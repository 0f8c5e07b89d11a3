/** Protections, each switched off on purpose, and the attack made for it, which must succeed then. */
import { DEVICE } from './mutations/device.ts';
import { ENROLMENTS } from './mutations/enrolments.ts';
import { GATEWAYS } from './mutations/gateways.ts';
import { JOINS } from './mutations/joins.ts';
import { LEDGER } from './mutations/ledger.ts';
import { PROGRAMS } from './mutations/programs.ts';
import { SECRETS } from './mutations/secrets.ts';
import { SERVER_KEYS } from './mutations/server-keys.ts';
import { SERVERS } from './mutations/servers.ts';
import { TUNNELS } from './mutations/tunnels.ts';
import type { TrustMutation } from './play-attack.ts';

export const MUTATIONS: readonly TrustMutation[] = [
  ...LEDGER,
  ...DEVICE,
  ...GATEWAYS,
  ...SECRETS,
  ...TUNNELS,
  ...PROGRAMS,
  ...ENROLMENTS,
  ...SERVER_KEYS,
  ...JOINS,
  ...SERVERS,
];
