/** Enrolment over plain HTTP through somebody who changes, keeps and replays what he carries. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type EnrollError, enroll, MemoryStore } from '../../device/index.ts';
import { nodeHpke } from '../../protocol/hpke-node.ts';
import {
  decodeEnrolled,
  decodeEnrolRequest,
  decodeServerKeys,
  encodeEnrolled,
  encodeEnrolRequest,
} from '../../protocol/index.ts';
import { makeIdentity } from '../gateway/raw-device.ts';
import { TestDevice } from './fleet.ts';
import { withLab } from './lab.ts';

const { testLab } = withLab({ bus: 'memory' });

type Json = Record<string, unknown>;
interface Carried {
  status: number;
  json: Json;
}
/** `ask`: asks the real server. */
type Carrier = (asked: Json, ask: (json: Json) => Promise<Carried>) => Promise<Carried>;

const honest: Carrier = (asked, ask) => ask(asked);

async function carried(server: string) {
  let carrier = honest;
  const http = createServer(async (request, response) => {
    let text = '';
    for await (const part of request) text += part;
    const ask = async (json: Json): Promise<Carried> => {
      const headers = { 'content-type': 'application/json' };
      const answer = await fetch(`${server}/v1/enroll`, {
        method: 'POST',
        headers,
        body: JSON.stringify(json),
      });
      return { status: answer.status, json: (await answer.json()) as Json };
    };
    const { status, json } = await carrier(JSON.parse(text), ask);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    be(next: Carrier) {
      carrier = next;
    },
    stop() {
      http.closeAllConnections();
      http.close();
    },
  };
}

const bytes = (text: unknown): Buffer => Buffer.from(text as string, 'base64url');
const text = (value: Uint8Array): string => Buffer.from(value).toString('base64url');

/** The last byte of its binary is another one. */
function spoiled(value: unknown): string {
  const copy = bytes(value);
  copy.writeUInt8(copy.readUInt8(copy.length - 1) ^ 1, copy.length - 1);
  return text(copy);
}

/** With other fields inside the signed request, and its signatures as they were. */
const askedOtherwise = (asked: Json, change: object): Json => ({
  ...asked,
  body: text(encodeEnrolRequest({ ...decodeEnrolRequest(bytes(asked.body)), ...change })),
});

const answeredOtherwise = (json: Json, change: object): Json => ({
  ...json,
  body: text(encodeEnrolled({ ...decodeEnrolled(bytes(json.body)), ...change })),
});

async function carriers(): Promise<Record<string, Carrier>> {
  const own = makeIdentity('');
  const { publicKey: sealTo } = await nodeHpke.generateX25519();
  const asking =
    (change: (asked: Json) => Json): Carrier =>
    (asked, ask) =>
      ask(change(asked));
  const answering =
    (change: (json: Json) => Json): Carrier =>
    async (asked, ask) => {
      const { status, json } = await ask(asked);
      return { status, json: status === 201 ? change(json) : json };
    };
  const keys = (json: Json) => (json.keys as Json[])[0] as Json;
  return {
    'his key in place of the device’s': asking((asked) =>
      askedOtherwise(asked, { publicKey: own.publicKey }),
    ),
    'his key to seal to': asking((asked) => askedOtherwise(asked, { sealTo })),
    'another name': asking((asked) => askedOtherwise(asked, { name: 'his' })),
    'another token': asking((asked) => askedOtherwise(asked, { token: 'e0' })),
    'a spoiled tokenSig': asking((asked) => ({ ...asked, tokenSig: spoiled(asked.tokenSig) })),
    'a spoiled deviceSig': asking((asked) => ({ ...asked, deviceSig: spoiled(asked.deviceSig) })),
    'signatures the other way round': asking(({ body, tokenSig, deviceSig }) => ({
      ...{ body, tokenSig: deviceSig, deviceSig: tokenSig },
    })),
    'a spoiled sig': answering((json) => ({ ...json, sig: spoiled(json.sig) })),
    'a spoiled body': answering((json) => ({ ...json, body: spoiled(json.body) })),
    'spoiled keys': answering((json) => ({
      ...json,
      keys: [{ ...keys(json), body: spoiled(keys(json).body) }],
    })),
    'spoiled signature of the keys': answering((json) => ({
      ...json,
      keys: [{ ...keys(json), sig: spoiled(keys(json).sig) }],
    })),
    'no keys': answering(({ keys: _, ...json }) => json),
    'another device id': answering((json) => answeredOtherwise(json, { deviceId: 'd0' })),
    'another installation': answering((json) => answeredOtherwise(json, { installation: 'i0' })),
    'another generation': answering((json) => answeredOtherwise(json, { generation: 2 })),
    'another order of gateways': answering((json) => answeredOtherwise(json, { gateways: ['gw'] })),
    'his list of gateways': answering((json) =>
      answeredOtherwise(json, {
        list: { ...decodeEnrolled(bytes(json.body)).membership, sig: new Uint8Array(64) },
      }),
    ),
    'another membership': answering((json) =>
      answeredOtherwise(json, {
        membership: { ...decodeEnrolled(bytes(json.body)).membership, sig: new Uint8Array(64) },
      }),
    ),
    'a refusal of his own': async () => ({ status: 410, json: { code: 'gone', detail: 'never come back' } }),
    'a refusal in the name of the server': async (asked, ask) => {
      const { keys: theirs, sig } = (await ask(asked)).json;
      return { status: 410, json: { code: 'gone', detail: 'never come back', keys: theirs, sig } };
    },
  };
}

testLab(
  'E-4, E-6: whatever somebody on the way changes, the device asks on, and enrols in the end',
  async (lab) => {
    const way = await carried(lab.deployment.server);
    const token = await lab.operator.enrolmentToken('all', 1);
    const store = new MemoryStore();
    const tryOnce = () => enroll({ server: way.url, token, store, name: 'till-7' });
    try {
      for (const [what, carrier] of Object.entries(await carriers())) {
        way.be(carrier);
        const error: EnrollError = await tryOnce().then(
          () => assert.unreachable(what),
          (refused) => refused,
        );
        assert.is(error.name, 'EnrollError', `${what}: ${error.stack}`);
        assert.is(error.temporary, true, `${what}: ${error.message}`);
        assert.is((await store.load()).state.identity, undefined, what);
      }
      way.be(honest);
      const { deviceId } = await tryOnce();
      const { state } = await store.load();
      const view = await lab.operator.api.get<{ name: string }>(`/v1/devices/${deviceId}`);
      assert.is(view.name, 'till-7');
      const device = new TestDevice({ name: 'till-7', group: 'all', store: new MemoryStore(state) });
      device.id = deviceId;
      lab.devices.push(device);
      await device.start();
      await lab.operator.onRecord(device, 'connected');
    } finally {
      way.stop();
    }
  },
);

testLab('E-3, E-6: an answer or refusal that was kept is good for no later request', async (lab) => {
  const way = await carried(lab.deployment.server);
  const token = await lab.operator.enrolmentToken('all', 1);
  const kept: Carried[] = [];
  try {
    way.be(async (asked, ask) => {
      const answer = await ask(asked);
      kept.push(answer);
      return answer;
    });
    const store = new MemoryStore();
    const { deviceId } = await enroll({ server: way.url, token, store, name: 'first' });
    const late = enroll({ server: way.url, token, store: new MemoryStore(), name: 'second' });
    const usedUp = await late.catch((error: EnrollError) => error);
    assert.is((usedUp as EnrollError).temporary, false, 'the token is used up');
    assert.equal(
      kept.map(({ status }) => status),
      [201, 410],
    );
    const { state } = await store.load();
    for (const answer of kept) {
      way.be(async () => answer);
      for (const again of [new MemoryStore(), new MemoryStore({ ...state })]) {
        const error = await enroll({
          server: way.url,
          token,
          store: again,
          name: 'first',
          again: true,
        }).catch((refused: EnrollError) => refused);
        assert.instance(error, Error);
        assert.is((error as EnrollError).temporary, true);
      }
    }
    await lab.operator.api.request('DELETE', `/v1/devices/${deviceId}`);
  } finally {
    way.stop();
  }
});

testLab('E-4: another server that answers in place of the device’s own is not believed', async (lab) => {
  const way = await carried(lab.deployment.server);
  const token = await lab.operator.enrolmentToken('all', 1);
  const [head, id, seed] = token.split('.');
  const elsewhere = [head, id, seed, text(new Uint8Array(32).fill(9))].join('.');
  try {
    const asked = { server: way.url, token: elsewhere, store: new MemoryStore(), name: 'till-7' };
    const error = await enroll(asked).catch((refused: EnrollError) => refused);
    assert.match((error as EnrollError).message, /not of the installation that the token names/);
    assert.is((error as EnrollError).temporary, true);
  } finally {
    way.stop();
  }
});

testLab(
  'E-2: who reads an enrolment learns neither seed nor secret, and can enrol nobody with it',
  async (lab) => {
    const way = await carried(lab.deployment.server);
    const token = await lab.operator.enrolmentToken('all', 5);
    const read: { asked: Json; answer: Carried }[] = [];
    way.be(async (asked, ask) => {
      const answer = await ask(asked);
      read.push({ asked, answer });
      return answer;
    });
    try {
      const store = new MemoryStore();
      const { deviceId, secret } = await enroll({ server: way.url, token, store, name: 'till-7' });
      const [{ asked, answer }] = read as [(typeof read)[number]];
      const said = [asked.body, answer.json.body].map((each) => bytes(each).toString('hex')).join();
      const [, , seed] = token.split('.');
      for (const hidden of [bytes(seed), secret]) {
        assert.not.ok(said.includes(Buffer.from(hidden).toString('hex')));
      }
      assert.equal(decodeServerKeys(bytes((answer.json.keys as Json[])[0]?.body)).root.length, 32);
      // The same request again: the same device, and a secret that only it can open.
      const again = await fetch(`${lab.deployment.server}/v1/enroll`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(asked),
      });
      assert.is(again.status, 201);
      const { body } = (await again.json()) as Json;
      assert.is(decodeEnrolled(bytes(body)).deviceId, deviceId);
      await lab.operator.api.request('DELETE', `/v1/devices/${deviceId}`);
    } finally {
      way.stop();
    }
  },
);

test.run();
