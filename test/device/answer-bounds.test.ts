import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { locate } from '../../device/gateways/locate.ts';
import { ApiError, enroll, MemoryStore, nodeCrypto } from '../../device/index.ts';
import { TrustedKeys } from '../../device/keys/trusted-keys.ts';
import { silent } from '../../device/log.ts';
import { proxyFetch } from '../../device/platform/proxy-node.ts';
import { LIMITS } from '../../protocol/index.ts';
import { NO_SECRET } from '../results.ts';
import { type Asked, enrolment, TOKEN } from './script-admin.ts';
import { firstKeys } from './script-gateway.ts';
import { until } from './until.ts';

const ways = ['directly', 'through a proxy'] as const;

/** A server that answers as `write` says, reached as `way` says: loopback itself needs no proxy. */
async function answering(
  way: (typeof ways)[number],
  write: (response: ServerResponse, asked: Asked) => void,
) {
  const open = new Set<Socket>();
  const server = createServer(async (request, response) => {
    let asked = '';
    for await (const part of request) asked += part;
    response.writeHead(200, { 'content-type': 'application/json' });
    write(response, JSON.parse(asked));
  });
  server.on('connection', (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket)).on('error', () => {});
  });
  const { port } = await listening(server);
  const proxy = createServer();
  proxy.on('connect', (_request, socket: Socket) => {
    const onward = connect(port, '127.0.0.1');
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    socket.on('error', () => {}).on('close', () => onward.destroy());
    onward.on('error', () => {}).on('close', () => socket.destroy());
    socket.pipe(onward).pipe(socket);
  });
  if (way === 'through a proxy') {
    process.env.http_proxy = `http://127.0.0.1:${(await listening(proxy)).port}`;
  }
  return {
    url: way === 'directly' ? `http://127.0.0.1:${port}` : 'http://admin.test',
    dropped: () => until(() => open.size === 0, 'the connection to be dropped'),
    stop() {
      delete process.env.http_proxy;
      for (const each of [server, proxy]) {
        each.closeAllConnections();
        each.close();
      }
    },
  };
}

async function listening(server: ReturnType<typeof createServer>): Promise<AddressInfo> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address() as AddressInfo;
}

const chunk = Buffer.alloc(16 * 1024, ' ');

/** Never ends, as long as somebody reads. */
function forEver(response: ServerResponse): void {
  const more = () => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on('drain', more);
  more();
}

/** One byte too many, and then nothing: neither more nor an end. */
const oneTooMany = (response: ServerResponse) =>
  void response.write(Buffer.alloc(LIMITS.answerBytes + 1, ' '));

const about = { token: TOKEN, name: 'n', timeoutMs: 600_000 };

async function ask(server: string): Promise<Error[]> {
  const [key, serverKey] = [await nodeCrypto.generate(), await nodeCrypto.generate()];
  const identity = { deviceId: 'dev-1', secret: NO_SECRET, generation: 1, installation: 'i-test', server };
  const { signal } = new AbortController();
  const trusted = new TrustedKeys(firstKeys(serverKey), nodeCrypto);
  const follow = async () => undefined;
  const parts = { crypto: nodeCrypto, fetch: proxyFetch(), log: silent };
  const all = [
    enroll({ ...about, server, store: new MemoryStore() }),
    locate({ identity, server, key, signal, trusted, follow, ...parts }),
  ];
  return Promise.all(
    all.map((each) =>
      each.then(
        () => new Error('it went well'),
        (error) => error,
      ),
    ),
  );
}

for (const way of ways) {
  for (const [what, write] of Object.entries({ 'never ends': forEver, 'is a byte too long': oneTooMany })) {
    test(`E-6: an answer that ${what} is given up at the bound, with its connection: ${way}`, async () => {
      const s = await answering(way, write);
      for (const error of await ask(s.url)) {
        assert.instance(error, ApiError);
        assert.match(error.message, /more than 65536 bytes/);
        assert.is((error as ApiError).temporary, true);
      }
      await s.dropped();
      s.stop();
    });
  }

  test(`E-6: an answer as long as it may be is read to its end: ${way}`, async () => {
    const s = await answering(way, async (response, asked) => {
      response.end(JSON.stringify(await enrolment(asked)).padEnd(LIMITS.answerBytes));
    });
    assert.is((await enroll({ ...about, server: s.url, store: new MemoryStore() })).deviceId, 'dev-1');
    s.stop();
  });

  test(`an answer that is cut off is no answer: ${way}`, async () => {
    const s = await answering(way, (response) => {
      response.write('{');
      setImmediate(() => response.destroy());
    });
    for (const error of await ask(s.url)) {
      assert.instance(error, ApiError);
      assert.match(error.message, /no answer/);
    }
    s.stop();
  });

  test(`a whole answer that falls silent is given up in time: ${way}`, async () => {
    const s = await answering(way, (response) => void response.write('{'));
    const late = { ...about, timeoutMs: 100, server: s.url, store: new MemoryStore() };
    const error = await enroll(late).catch((e) => e);
    assert.match(error.message, /no answer.*timeout/);
    await s.dropped();
    s.stop();
  });
}

test.run();
