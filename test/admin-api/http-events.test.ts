import { readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { mock } from 'node:test';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { waitFor } from '../wait.ts';
import { EventReader } from './event-reader.ts';
import { type Http, startHttp } from './http-harness.ts';

let http: Http;
let readers: EventReader[] = [];
test.before(async () => {
  http = await startHttp({ eventPingMs: 50, maxEventStreams: 20, eventBufferBytes: 4096 });
});
test.after.each(async () => {
  for (const reader of readers) reader.close();
  readers = [];
  await waitFor(async () => /event_streams 0\n/.test((await http.call('GET', '/metrics')).body));
});
test.after(() => http.stop());

async function follow(query = '', lastEventId?: string, token = http.secrets.viewer): Promise<EventReader> {
  const reader = await EventReader.open(`${http.url}/v1/events${query}`, token, lastEventId);
  readers.push(reader);
  return reader;
}

let appended = 0;
async function append(count: number, more: object = {}, type = 'test'): Promise<void> {
  const events = Array.from({ length: count }, () => ({
    at: Date.now(),
    type,
    data: { n: ++appended, ...more },
  }));
  for (let i = 0; i < events.length; i += 100) await http.store.events.append(events.slice(i, i + 100));
  http.hub.notify();
}
const numbers = (reader: EventReader) => reader.events.map((event) => event.data.n);
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

test('the hub keeps polling while nobody listens', async () => {
  await waitFor(async () => /event_streams 0\n/.test((await http.call('GET', '/metrics')).body));
  const { rounds } = http.hub;
  await waitFor(() => http.hub.rounds > rounds + 1, { what: 'rounds' });
});

test('a stream begins with what happens next, and carries number, type and data', async () => {
  await append(1);
  const reader = await follow();
  assert.is(reader.response.status, 200);
  assert.match(reader.response.headers.get('content-type') ?? '', /^text\/event-stream/);
  await waitFor(() => reader.lastEventId !== '');
  await append(1, { hello: 'world' });
  const [event] = await reader.until((events) => events.length === 1, 'one event');
  assert.is(event?.type, 'test');
  assert.is(event?.data.hello, 'world');
  assert.is(event?.data.n, appended);
  assert.match(event?.data.at, /^\d{4}-.*\.\d{3}Z$/);
});

test('a stream cut anywhere resumes by Last-Event-ID without gap or repeat while events arrive', async () => {
  const [first, last] = [appended + 1, appended + 300];
  let position = String((await http.store.events.bounds()).last);
  const writing = (async () => {
    for (let i = 0; i < 60; i++) await append(5);
  })();
  const seen: number[] = [];
  let cuts = 0;
  while (seen.at(-1) !== last) {
    const reader = await follow('', position);
    reader.closeAfter = 7;
    await waitFor(() => reader.ended || numbers(reader).at(-1) === last, { intervalMs: 1 });
    reader.close();
    seen.push(...numbers(reader));
    position = reader.lastEventId;
    cuts++;
  }
  await writing;
  assert.ok(cuts > 10, `cut ${cuts} times`);
  assert.equal(seen, range(first, last));
});

test('a reader cut before it saw anything resumes where it began', async () => {
  const reader = await follow();
  await waitFor(() => reader.lastEventId !== '');
  reader.close();
  await append(3);
  const again = await follow('', reader.lastEventId);
  await again.until((events) => events.length === 3, 'what was missed');
  assert.equal(numbers(again), range(appended - 2, appended));
});

test('`after` begins in the past, and a slow reader gets everything all the same', async () => {
  const { last } = await http.store.events.bounds();
  await append(1200, { pad: 'x'.repeat(1000) });
  const reader = await follow(`?after=${last}`);
  await append(300, { pad: 'x'.repeat(1000) });
  await reader.until((events) => events.length === 1500, '1,500 events');
  assert.equal(numbers(reader), range(appended - 1499, appended));
});

test('a reader that stops reading costs a bounded buffer, and gets everything once it reads on', async () => {
  const { last } = await http.store.events.bounds();
  const sockets: Socket[] = [];
  http.app.server.once('connection', (socket: Socket) => sockets.push(socket));
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { authorization: `Bearer ${http.secrets.viewer}` };
    const url = `${http.url}/v1/events?after=${last}`;
    httpRequest(url, { headers, agent: false }, resolve).on('error', reject).end();
  });
  const witness = await follow(`?after=${last}`);
  await append(10);
  await append(1500, { pad: 'x'.repeat(10_000) });
  await witness.until((events) => events.length === 1510, 'everybody else to have everything');
  assert.ok((sockets[0]?.writableLength ?? 0) > 0, 'the stream is full');
  assert.ok((sockets[0]?.writableLength ?? 0) < 2_000_000, 'one page at most waits in memory');
  let text = '';
  response.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  const ids = () => [...text.matchAll(/"n":(\d+)/g)].map((match) => Number(match[1]));
  await waitFor(() => text.includes(`"n":${appended},`), { what: 'the last event' });
  response.destroy();
  assert.equal(ids(), range(appended - 1509, appended));
});

test('filters leave out other events, and still move the position', async () => {
  const reader = await follow('?type=other.');
  await append(3);
  await append(1, {}, 'other.thing');
  await append(2);
  await reader.until((events) => events.length === 1, 'the other thing');
  const { last } = await http.store.events.bounds();
  await waitFor(() => reader.lastEventId === String(last), { what: 'the position to move' });
  assert.is(reader.events.length, 1);
});

test('a stream of one command carries its changes only', async () => {
  const device = await http.enrol();
  const body = { type: 'sync', target: { devices: [device] } };
  const { last } = await http.store.events.bounds();
  const one = (await http.call('POST', '/v1/commands', { body })).body.id;
  const two = (await http.call('POST', '/v1/commands', { body })).body.id;
  await http.call('POST', `/v1/commands/${two}/cancel`);
  const reader = await follow(`?after=${last}&command=${one}`);
  await reader.until((events) => events.some(({ type }) => type === 'command.finished'), 'the end of it');
  assert.equal(
    reader.events.map(({ type, data }) => (type === 'executions' ? data.changes : type)),
    ['command.created', [[one, device, 'superseded']], 'command.finished'],
  );
});

test('a position that is not kept any more, or never was, is told with `reset` before all else', async () => {
  await append(20);
  await http.store.events.prune(0, 5);
  const { first, last } = await http.store.events.bounds();
  assert.ok(first > 1);
  const reader = await follow('?after=1');
  await reader.until((events) => events.length === 6, 'reset and what is kept');
  assert.is(reader.events[0]?.type, 'reset');
  assert.equal([reader.events[0]?.data.first, reader.events[0]?.data.last], [first, last]);
  assert.equal(numbers(reader).slice(1), range(appended - 4, appended));

  const future = await follow('', String(last + 1000));
  await future.until((events) => events.length === 1, 'reset');
  await append(1);
  await future.until((events) => events.length === 2, 'what came after');
  assert.equal([future.events[0]?.type, future.events[1]?.data.n], ['reset', appended]);

  const exact = await follow('', String(first - 1));
  await exact.until((events) => events.length === 6, 'all that is kept, without a reset');
  assert.is(exact.events[0]?.type, 'test');
});

test('a stream ends when its token is revoked', async () => {
  const { token, id } = (await http.call('POST', '/v1/tokens', { body: { name: 'x', role: 'viewer' } })).body;
  const reader = await follow('', undefined, token);
  await http.call('DELETE', `/v1/tokens/${id}`);
  await waitFor(() => reader.ended, { what: 'the stream to end' });
});

test('streams are bounded in number, and counted', async () => {
  for (let i = 0; i < 20; i++) assert.is((await follow()).response.status, 200);
  const { body } = await http.call('GET', '/metrics');
  assert.match(body, /pushpoint_admin_event_streams 20\n/);
  const refused = await http.call('GET', '/v1/events');
  assert.is(refused.status, 503);
  assert.ok(refused.headers.get('retry-after'));
});

test('bad positions are refused, and streams are not for HEAD', async () => {
  for (const id of ['x', '-1', '1.5', '01']) {
    assert.is((await http.call('GET', '/v1/events', { headers: { 'last-event-id': id } })).status, 400, id);
  }
  assert.is((await http.call('HEAD', '/v1/events')).status, 405);
  const { body } = await http.call('GET', '/metrics');
  assert.not.match(body, /route="\/v1\/events",status="200"/);
});

test('an idle stream shows signs of life in its interval, by default before a proxy waits 15 s', async () => {
  const standard = await startHttp();
  const clocks = mock.timers;
  clocks.enable({ apis: ['setInterval'] });
  try {
    for (const [{ url, secrets }, intervalMs] of [[http, 50] as const, [standard, 10_000] as const]) {
      const reader = await EventReader.open(`${url}/v1/events`, secrets.viewer);
      readers.push(reader);
      await waitFor(() => reader.lastEventId !== '', { what: 'the first position' });
      clocks.tick(intervalMs - 1);
      assert.is(reader.pings, 0);
      clocks.tick(1);
      await waitFor(() => reader.pings === 1, { what: 'a sign of life' });
      reader.close();
    }
  } finally {
    clocks.reset();
    await standard.stop();
  }
  const { body } = await http.call('GET', '/openapi.json', { as: null });
  assert.match(body.paths['/v1/events'].get.description, 'A comment arrives every 10 s.');
  const operations = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8');
  assert.match(operations, '(`GET /v1/events`) carry a sign of life every 10 s.');
});

test('closing the server ends its streams', async () => {
  const closing = await startHttp();
  const reader = await EventReader.open(`${closing.url}/v1/events`, closing.secrets.viewer);
  const startedAt = performance.now();
  await closing.stop();
  await waitFor(() => reader.ended);
  assert.ok(performance.now() - startedAt < 2000);
});

test.run();
