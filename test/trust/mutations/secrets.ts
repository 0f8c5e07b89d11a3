/** What keeps secrets from carriers. */
import type { TrustMutation } from '../play-attack.ts';

export const SECRETS: readonly TrustMutation[] = [
  {
    name: 'secret-args-open',
    title: 'arguments of secret commands travel as they are',
    patches: [
      {
        file: 'admin-api/secrets/secret-commands.js',
        find: 'return encrypt(key, plain, sealedArgsBytes(command, { device: device.id }));',
        replace:
          'return { ...encrypt(key, plain, sealedArgsBytes(command, { device: device.id })), ' +
          'ct: Buffer.concat([plain, Buffer.alloc(16)]) };',
      },
    ],
    proof: 'secret-read-in-redis',
  },
  {
    name: 'secret-results-open',
    title: 'devices seal no results',
    patches: [
      {
        file: 'device/executions/executions.js',
        find: 'const hides = sealed !== undefined && tellsSecrets(end);',
        replace: 'const hides = false;',
      },
    ],
    proof: 'secret-read-by-stolen-gateway',
  },
  {
    name: 'group-keys-for-all',
    title: 'the server gives keys of groups to every device that asks',
    patches: [
      {
        file: 'admin-api/ledger/wanted-keys.js',
        find: 'return blockedAt === null && groupsOnPath(groupPath).includes(group);',
        replace: 'return true;',
      },
    ],
    proof: 'group-key-after-leaving',
  },
];
