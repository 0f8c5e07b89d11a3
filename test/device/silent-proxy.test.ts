import { once } from 'node:events';
import { request } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { locate } from '../../device/gateways/locate.ts';
import { enroll, httpProbe, MemoryStore, nodeCrypto, wsDial } from '../../device/index.ts';
import { TrustedKeys } from '../../device/keys/trusted-keys.ts';
import { silent } from '../../device/log.ts';
import { proxyAgent, proxyFetch } from '../../device/platform/proxy-node.ts';
import { NO_SECRET } from '../results.ts';
import { fixture } from './fixture.ts';
import { TOKEN } from './script-admin.ts';
import { firstKeys, ScriptGateway } from './script-gateway.ts';
import { until } from './until.ts';

/** What a proxy does with a connection; each is known to strand somebody. */
const FAULTS: Record<string, (socket: Socket) => void> = {
  'says nothing': () => {},
  'begins an answer to CONNECT': (socket) => socket.once('data', () => socket.write('HTTP/1.1 200 O')),
  'dies in the answer': (socket) => socket.once('data', () => socket.end('HTTP/1.1 200 O')),
  'falls silent after it': (socket) => socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\n\r\n')),
};

async function faultyProxy(fault: (socket: Socket) => void) {
  const open = new Set<Socket>();
  const p = {
    taken: 0,
    closed: () => until(() => p.taken > 0 && open.size === 0, 'every connection to the proxy to close'),
    async stop() {
      for (const name of ['http_proxy', 'https_proxy']) delete process.env[name];
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  const server = createServer((socket) => {
    p.taken++;
    open.add(socket);
    socket.on('close', () => open.delete(socket)).on('error', () => {});
    fault(socket);
    socket.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  process.env.http_proxy = url;
  process.env.https_proxy = url;
  return p;
}

/** How it ends; fails where it never does. */
async function settled(what: string, work: Promise<unknown>): Promise<Error> {
  let end: { error: Error } | undefined;
  work.then(
    () => {
      end = { error: new Error('it went well') };
    },
    (error) => {
      end = { error };
    },
  );
  return (await until(() => end, `${what} to settle`)).error;
}

for (const [what, fault] of Object.entries(FAULTS)) {
  for (const s of ['', 's']) {
    test(`a proxy that ${what} strands neither probe, dial, enrolment nor question: http${s}`, async () => {
      const p = await faultyProxy(fault);
      const gateway = { name: 'gw-1', url: `ws${s}://gateway.test` };
      const server = `http${s}://admin.test`;
      const never = new AbortController().signal;
      await settled('the probe', httpProbe()(gateway, { count: 1, timeoutMs: 100, signal: never }));
      await p.closed();
      const life = new AbortController();
      p.taken = 0;
      const probing = httpProbe()(gateway, { count: 1, timeoutMs: 60_000, signal: life.signal });
      const ended = settled('the probe that is stopped', probing);
      await until(() => p.taken > 0, 'a connection');
      life.abort();
      await ended;
      await p.closed();
      for (const handshakeTimeoutMs of [100, 60_000]) {
        p.taken = 0;
        let closed = false;
        const socket = wsDial({ handshakeTimeoutMs })(gateway.url, {
          opened: () => {},
          frame: () => {},
          closed: () => {
            closed = true;
          },
        });
        await until(() => p.taken > 0, 'a connection');
        if (handshakeTimeoutMs > 100) socket.terminate();
        await until(() => closed, 'the dial to end');
        await p.closed();
      }
      const about = { server, token: TOKEN, name: 'n', store: new MemoryStore(), timeoutMs: 100 };
      const refused = await settled('enrolment', enroll(about));
      assert.is((refused as Error & { temporary?: boolean }).temporary, true, refused.message);
      await p.closed();
      p.taken = 0;
      const asking = new AbortController();
      const [key, serverKey] = [await nodeCrypto.generate(), await nodeCrypto.generate()];
      const identity = {
        deviceId: 'dev-1',
        secret: NO_SECRET,
        generation: 1,
        installation: 'i-test',
        server,
      };
      const { signal } = asking;
      const trusted = new TrustedKeys(firstKeys(serverKey), nodeCrypto);
      const follow = async () => undefined;
      const parts = { crypto: nodeCrypto, fetch: proxyFetch(), log: silent };
      const question = locate({ identity, server, key, signal, trusted, follow, ...parts });
      const asked = settled('the question where to go', question);
      await until(() => p.taken > 0, 'a connection');
      asking.abort();
      await asked;
      await p.closed();
      await p.stop();
    });
  }
}

test('a proxy that says nothing is given up by itself, also for a request without a limit', async () => {
  const p = await faultyProxy(FAULTS['says nothing'] as (socket: Socket) => void);
  const url = new URL('http://gateway.test');
  const [error] = await once(request(url, { agent: proxyAgent(url) }).end(), 'response').catch((e) => [e]);
  assert.match(error.message, /proxy .*no answer to CONNECT in time/);
  await p.closed();
  await p.stop();
});

test('a device behind a proxy that says nothing goes on choosing and dialing', async () => {
  const p = await faultyProxy(FAULTS['says nothing'] as (socket: Socket) => void);
  const gateway = await ScriptGateway.start();
  const gateways = ['a', 'b'].map((name) => ({ name, url: `ws://${name}.test` }));
  const f = await fixture({
    gateway,
    store: gateway.store({ gateways }),
    connect: false,
    options: {
      dial: wsDial({ handshakeTimeoutMs: 100 }),
      probe: httpProbe(),
      probing: { timeoutMs: 50, count: 1 },
    },
  });
  await until(() => f.disconnected.length >= 3, 'three attempts');
  await f.end();
  await p.closed();
  await p.stop();
});

test.run();
