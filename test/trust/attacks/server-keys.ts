/** Server keys that the root key did not sign, or not as the newest (PROTOCOL.md, section K). */
import { encodeGatewayMessage, type SignedServerKeys } from '../../../protocol/index.ts';
import { type KeyPair, newKeyPair, signedKeys } from '../../server-keys.ts';
import type { Attack } from '../attack.ts';
import type { World } from '../world.ts';
import { carried } from './carried.ts';
import { forgedCommand, forgedOrder, ran } from './orders.ts';

const FORGED = 'c-forged';
/** So much newer than what the installation has. */
const LATER = 10;

interface Root {
  root: KeyPair;
  epoch: number;
  revision: number;
  signing: readonly Uint8Array[];
}

async function rootOf({ database }: World): Promise<Root> {
  const { root, server } = await database.keys();
  return {
    root,
    ...{ epoch: server.keys.epoch, revision: server.keys.revision, signing: server.keys.signing },
  };
}

/** A device is brought documents, and then a command by a key that they name. */
function trusting(
  { name, rules, title }: Pick<Attack, 'name' | 'rules' | 'title'>,
  documents: (root: Root, key: KeyPair) => SignedServerKeys[],
): Attack[] {
  return carried({ name, rules, title }, async (world) => {
    const victim = await world.victim();
    const key = newKeyPair();
    const keys = documents(await rootOf(world), key);
    const frames = [
      ...keys.map((document) => encodeGatewayMessage({ t: 'keys', ...document })),
      forgedOrder(forgedCommand(victim.id, FORGED), key.privateKey),
    ];
    return { victim, frames, judge: async () => ran(victim, FORGED) };
  });
}

export const SERVER_KEYS: readonly Attack[] = [
  ...trusting(
    {
      name: 'forged-keys',
      rules: 'K-2, K-3',
      title: 'brings newer server keys with a key of its own, in the name of the root key',
    },
    ({ root, epoch, revision, signing }, key) => {
      const named = { publicKey: root.publicKey, privateKey: key.privateKey };
      return [signedKeys(named, [epoch, revision + LATER], [...signing, key.publicKey])];
    },
  ),
  ...trusting(
    {
      name: 'keys-of-another-root',
      rules: 'K-3',
      title: 'brings newer server keys of a root key of its own, which replaces the one before',
    },
    ({ epoch, revision, signing }, key) => {
      const root = newKeyPair();
      return [signedKeys(root, [epoch, revision + LATER], [...signing, key.publicKey], key)];
    },
  ),
  ...trusting(
    {
      name: 'replayed-keys',
      rules: 'K-3',
      title: 'repeats genuine server keys with a key that was stolen, behind newer ones without it',
    },
    ({ root, epoch, revision, signing }, key) => [
      signedKeys(root, [epoch, revision + 2 * LATER], [...signing]),
      signedKeys(root, [epoch, revision + LATER], [...signing, key.publicKey]),
    ],
  ),
];
