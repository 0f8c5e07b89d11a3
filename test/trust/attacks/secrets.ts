/** Attacks on what secret commands keep from carriers (PROTOCOL.md, section X). */
import { createPrivateKey } from 'node:crypto';
import { nodeCrypto } from '../../../device/index.ts';
import {
  decodeOrderBody,
  encodeArgs,
  encryptSecret,
  type GatewayMessage,
  type GroupKeyName,
  pkcs8,
  SECRET_KEY_BYTES,
  sealedArgsBytes,
} from '../../../protocol/index.ts';
import { usualWork } from '../../e2e/fleet.ts';
import { connectDevice } from '../../gateway/raw-device.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Success } from '../success.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';

const PASSWORD = 'correct-horse-battery-staple';
const ANSWER = 'tr0ub4dor-and-three';
const ORDINARY = 'what-anyone-may-read';

const work: typeof usualWork = (command, context, device) =>
  command.secret ? { token: ANSWER } : usualWork(command, context, device);

function readIn(bytes: Buffer): Success {
  const read = [PASSWORD, ANSWER].filter((text) => bytes.includes(text));
  return read.length === 0 ? null : `the attacker read ${read.join(' and ')}`;
}

async function message(world: World, { device }: Victim, body: string, secret: boolean): Promise<string> {
  const args = { topic: 'credentials', body };
  return (await world.lab.operator.send('message', [device], { args, secret })).id;
}

/** All that is in a Redis, as whoever may read it finds it. */
async function wholeRedis({ redis }: World): Promise<Buffer> {
  // A compressed dump hides what stands in it twice.
  await redis.make('redis', 'CONFIG', 'SET', 'rdbcompression', 'no');
  const dumps: Buffer[] = [];
  for (const key of (await redis.make('redis', 'KEYS', '*')) as Buffer[]) {
    const dump = await redis.make('redis', 'DUMP', new Uint8Array(key));
    if (dump) dumps.push(Buffer.from(dump as Uint8Array));
  }
  return Buffer.concat(dumps);
}

const READ_IN_REDIS: Attack = {
  name: 'secret-read-in-redis',
  by: 'redis',
  rules: 'X-3, X-8',
  title: 'who reads Redis looks for the arguments of a secret command that is on its way',
  async stage(world) {
    const victim = await world.victim({ work });
    const [holder] = world.lab.deployment.gateways;
    let found = Buffer.alloc(0);
    return {
      async attack() {
        // What it has to fetch stays where it is.
        world.lab.deployment.freeze(holder as string);
        try {
          await message(world, victim, PASSWORD, true);
          await message(world, victim, ORDINARY, false);
          await waitFor(async () => {
            found = Buffer.from(await wholeRedis(world));
            return found.includes(ORDINARY);
          });
        } finally {
          world.lab.deployment.thaw(holder as string);
        }
      },
      async control() {
        if (!found.includes(ORDINARY)) throw new Error('the attacker does not see commands at all');
        await world.reaches(victim);
      },
      judge: async () => readIn(found),
    };
  },
};

const READ_BY_GATEWAY: Attack = {
  name: 'secret-read-by-stolen-gateway',
  by: 'gateway',
  rules: 'X-8',
  title: 'a stolen gateway carries a secret command and reads what its device returns',
  async stage(world) {
    const victim = await world.captive({ work });
    const frames = [await secretOrder(world, victim, 'c-secret'), await world.orderFor(victim, 'c-next')];
    const heard = async () => {
      const { said } = await world.gateway.make('heard');
      return said.flatMap((each) => (each.t === 'result' ? [each] : []));
    };
    return {
      attack: () => world.fallsInto({ after: frames }, victim),
      async control() {
        await waitFor(async () => (await heard()).length >= 2, { what: 'both results' });
        const next = (await heard()).find(({ id }) => id === 'c-next');
        if (!Buffer.from(next?.body ?? []).includes('r1')) throw new Error('no result can be read at all');
      },
      judge: async () => readIn(Buffer.concat((await heard()).map(({ body }) => Buffer.from(body)))),
    };
  },
};

/** As the administration server would seal it, with the device's own key. */
async function secretOrder(world: World, victim: Victim, id: string) {
  const device = victim.id;
  const { identity } = (await victim.device.store.load()).state;
  if (!identity) throw new Error('the victim is not enrolled');
  const key = await nodeCrypto.mac(identity.secret, SECRET_KEY_BYTES);
  const plain = encodeArgs({ topic: 'credentials', body: PASSWORD });
  const sealed = await encryptSecret(nodeCrypto, key, plain, sealedArgsBytes(id, { device }));
  return world.orderFor(victim, id, { type: 'message', args: null, sealed });
}

function isCancel(message: GatewayMessage, id: string): boolean {
  const order = message.t === 'order' ? decodeOrderBody(message.body) : null;
  return order?.kind === 'cancel' && order.id === id;
}

const KEY_AFTER_LEAVING: Attack = {
  name: 'group-key-after-leaving',
  by: 'network',
  rules: 'X-4, X-5',
  title: 'a device that was moved out of its group asks for the key that the group has now',
  async stage(world) {
    const { operator } = world.lab;
    const group = await world.lab.group('secret-circle');
    const left = await world.victim({ work, group });
    const stays = await world.victim({ work, group });
    const inGroup = async (devices: Victim[]) => {
      const args = { topic: 'credentials', body: PASSWORD };
      const sent = devices.map(({ device }) => device);
      const { id } = await operator.send('message', sent, { args, group, secret: true });
      await operator.finished(id);
      return id;
    };
    await inGroup([left, stays]);
    await operator.api.request('PATCH', `/v1/devices/${left.id}`, { body: { groupId: 'all' } });
    await inGroup([stays]);
    const held = (await stays.device.store.load()).state.groupKeys?.at(-1);
    const name: GroupKeyName = { group, epoch: held?.epoch ?? 0, number: held?.number ?? 0 };
    await left.device.stop();
    let got = 0;
    return {
      async attack() {
        const { state } = await left.device.store.load();
        const seed = Buffer.from(pkcs8('Ed25519', state.key?.privateKey as Uint8Array));
        const privateKey = createPrivateKey({ key: seed, format: 'der', type: 'pkcs8' });
        const publicKey = state.key?.publicKey as Uint8Array;
        const identity = { id: left.id, privateKey, publicKey };
        const { device } = await connectDevice(world.addresses.gw1.url, identity);
        device.send({ t: 'want', ...name });
        // Each of these is answered with a cancel, the second one after everything that was asked before.
        for (const id of ['c-unknown-1', 'c-unknown-2']) {
          device.send({ t: 'ack', id });
          await waitFor(() => device.received.some((each) => isCancel(each, id)), {
            what: `a cancel of ${id}`,
          });
        }
        got = device.received.filter(({ t }) => t === 'key').length;
        await device.close();
      },
      async control() {
        if (name.number < 2) throw new Error('the group has no new key');
        await inGroup([stays]);
      },
      judge: async () => (got > 0 ? `${left.id} got key ${name.number} of a group that it left` : null),
    };
  },
};

export const SECRETS: readonly Attack[] = [READ_IN_REDIS, READ_BY_GATEWAY, KEY_AFTER_LEAVING];
