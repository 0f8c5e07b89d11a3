/** Entries of the directory that somebody else wrote, so that a gateway admits an impostor. */
import { createPrivateKey, sign } from 'node:crypto';
import type { DirectoryDevice } from '../../../bus/bus.ts';
import { nodeHpke } from '../../../protocol/hpke-node.ts';
import {
  encodeKeyRotation,
  keyRotationBytes,
  type Prove,
  pkcs8,
  proofBytes,
} from '../../../protocol/index.ts';
import { type KeyPair, newKeyPair, signedKeys } from '../../server-keys.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import { entryOf, gatewayEntry, writeEntry, writeGatewayEntry } from '../directory-entries.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';
import { knocks } from './admissions.ts';
import { forgedOrder } from './orders.ts';

/** Whether `gw1` takes the holder of this key for the device. */
function admits(
  world: World,
  { id, wire }: Victim,
  { privateKey }: Pick<KeyPair, 'privateKey'>,
  stays = false,
): Promise<boolean> {
  const { sig: _, ...prove } = wire.said.find(({ t }) => t === 'prove') as Prove;
  const signer = (nonce: Uint8Array) => new Uint8Array(sign(null, proofBytes(nonce, 'gw1', id), privateKey));
  return knocks(world, { ...prove, device: id }, signer, stays);
}

async function keyOf({ device }: Victim): Promise<Pick<KeyPair, 'privateKey'>> {
  const { key } = (await device.store.load()).state;
  if (!key) throw new Error('no key');
  const der = Buffer.from(pkcs8('Ed25519', key.privateKey as Uint8Array));
  return { privateKey: createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }) };
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url');

/** So often it knocks: at each of the workers of the gateway. */
const KNOCKS = 10;
const WORKERS = 2;
/** While a gateway reads what was written. */
const PATIENT_KNOCKS = 12;

/**
 * A device comes back with an entry from before an operator, or the device, changed it. A worker may admit it
 * once, until the ledger hears of it.
 */
function returning(
  { name, title }: Pick<Attack, 'name' | 'title'>,
  change: (world: World, victim: Victim) => Promise<unknown>,
): Attack {
  return {
    ...{ name, by: 'redis', rules: 'H-3, S-7', title },
    async stage(world) {
      const victim = await world.victim();
      const [before, key] = [await entryOf(world.redis, victim.id), await keyOf(victim)];
      await change(world, victim);
      await victim.device.stop();
      let [admitted, stays] = [0, false];
      return {
        async attack() {
          for (let n = 0; n < KNOCKS && !stays; n++) {
            await writeEntry(world.redis, before);
            if (!(await admits(world, victim, key, true))) continue;
            admitted++;
            stays = await waitFor(async () => !(await world.network.make('isIn')), {
              timeoutMs: 10_000,
            }).then(
              () => false,
              () => true,
            );
          }
        },
        control: () => world.reaches(world.bystander),
        async judge() {
          if (stays) return 'it stays at gw1';
          return admitted > WORKERS ? `gw1 admits it again and again: ${admitted} times` : null;
        },
      };
    },
  };
}

/** As the administration server would write it for the device, signed by another key. */
function forgedEntry(entry: DirectoryDevice, { publicKey }: KeyPair, signing: KeyPair): DirectoryDevice {
  const [epoch, revision] = entry.membershipEdition;
  const order = {
    ...{ kind: 'membership' as const, target: { device: entry.id }, state: 'active' as const },
    ...{ key: publicKey, groups: entry.groups, epoch, revision, issuedAt: Date.now() },
  };
  return { ...entry, publicKey, membership: forgedOrder(order, signing.privateKey) };
}

function impostor(
  { name, title }: Pick<Attack, 'name' | 'title'>,
  entryFor: (entry: DirectoryDevice, key: KeyPair) => DirectoryDevice,
): Attack {
  return {
    ...{ name, by: 'redis', rules: 'H-3, S-7', title },
    async stage(world) {
      const victim = await world.victim();
      const genuine = await entryOf(world.redis, victim.id);
      const key = newKeyPair();
      let admitted = false;
      return {
        async attack() {
          await writeEntry(world.redis, entryFor(genuine, key));
          admitted = await admits(world, victim, key);
        },
        async control() {
          await writeEntry(world.redis, genuine);
          await world.reaches(world.bystander);
        },
        judge: async () => (admitted ? 'gw1 admitted who has another key' : null),
      };
    },
  };
}

export const DIRECTORY: readonly Attack[] = [
  impostor(
    {
      name: 'replaced-device-key',
      title: "who writes to Redis puts a key of its own beside a device's membership",
    },
    (entry, { publicKey }) => ({ ...entry, publicKey }),
  ),
  impostor(
    { name: 'forged-entry', title: 'who writes to Redis signs a membership that names a key of its own' },
    (entry, key) => forgedEntry(entry, key, newKeyPair()),
  ),
  {
    name: 'forged-rotation',
    by: 'redis',
    rules: 'K-6',
    title: 'who reads the key of a device in Redis asks the server to replace it with a key of its own',
    async stage(world) {
      const victim = await world.victim();
      const key = newKeyPair();
      let status = 0;
      return {
        async attack() {
          const { publicKey: from } = await entryOf(world.redis, victim.id);
          const sealTo = (await nodeHpke.generateX25519()).publicKey;
          const to = key.publicKey;
          const signed = encodeKeyRotation({ device: victim.id, from, to, sealTo, generation: 1 });
          const sig = text(sign(null, keyRotationBytes(signed), key.privateKey));
          const answer = await fetch(`${world.lab.deployment.server}/v1/rotate-key`, {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify({ body: text(signed), fromSig: sig, toSig: sig }),
          });
          await answer.arrayBuffer();
          status = answer.status;
        },
        control: () => world.reaches(victim),
        judge: async () => (status === 200 ? 'the device has the key of the attacker' : null),
      };
    },
  },
  returning(
    {
      name: 'blocked-returns',
      title: 'a device that was blocked writes its former entry into Redis, and connects',
    },
    (world, { id }) =>
      world.lab.operator.api.request('PATCH', `/v1/devices/${id}`, { body: { blocked: true } }),
  ),
  returning(
    {
      name: 'earlier-key-returns',
      title: 'who stole a key that a device has replaced since writes its former entry into Redis',
    },
    (_world, { device }) => device.sdk.rotateKey(),
  ),
  {
    name: 'replaced-server-keys',
    by: 'redis',
    rules: 'H-3, K-2',
    title:
      'who writes to Redis puts server keys of its own into the directory, and memberships signed by them',
    async stage(world) {
      const victim = await world.victim();
      const genuine = await entryOf(world.redis, victim.id);
      const [key, root, signing] = [newKeyPair(), newKeyPair(), newKeyPair()];
      const keys = [signedKeys(root, [1_000, 1], [signing.publicKey])];
      let admitted = false;
      return {
        async attack() {
          await writeEntry(world.redis, forgedEntry(genuine, key, signing));
          const listed = await gatewayEntry(world.redis, 'gw1');
          // Who writes again and again is as good as a server that corrects nothing.
          world.lab.deployment.freeze('admin');
          try {
            for (let n = 0; n < PATIENT_KNOCKS && !admitted; n++) {
              await writeGatewayEntry(world.redis, { ...listed, keys });
              admitted = await admits(world, victim, key);
            }
          } finally {
            world.lab.deployment.thaw('admin');
            await writeGatewayEntry(world.redis, listed);
          }
        },
        async control() {
          await writeEntry(world.redis, genuine);
          await world.reaches(world.bystander);
        },
        judge: async () => (admitted ? 'gw1 admitted who has another key' : null),
      };
    },
  },
];
