import type { ServerResponse } from 'node:http';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient, ApiRefused } from '../../cli/api/api-client.ts';
import { parseEvents, readEventStream, type StreamEvent } from '../../cli/api/event-stream.ts';
import { waitFor } from '../wait.ts';
import { json, smallServer } from './small-server.ts';

async function parsed(...chunks: string[]): Promise<(StreamEvent | 'alive')[]> {
  const bytes = async function* (): AsyncGenerator<Uint8Array, void, void> {
    for (const chunk of chunks) yield new TextEncoder().encode(chunk);
  };
  const events: (StreamEvent | 'alive')[] = [];
  for await (const event of parseEvents(bytes())) events.push(event);
  return events;
}

test('events are read however the network cuts them', async () => {
  const wanted = [
    { id: '7', event: 'executions', data: '{"a":1}' },
    'alive',
    { id: '7', event: 'message', data: 'x\ny' },
  ];
  const text = 'id: 7\nevent: executions\ndata: {"a":1}\n\n: ping\n\ndata:x\ndata: y\n\n';
  assert.equal(await parsed(text), wanted);
  assert.equal(await parsed(...text), wanted);
  assert.equal(await parsed(text.replaceAll('\n', '\r\n')), wanted);
  assert.equal(await parsed(...text.replaceAll('\n', '\r\n')), wanted);
});

test('an event without its end, and an event without data, are not events', async () => {
  assert.equal(await parsed('id: 1\n\nid: 2\ndata: x\n'), []);
});

function sse(response: ServerResponse, ...ids: number[]): void {
  if (!response.headersSent) response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const id of ids) response.write(`id: ${id}\nevent: executions\ndata: {}\n\n`);
}

test('a cut connection is reopened with Last-Event-ID, and no event is skipped or repeated', async () => {
  const lastIds: (string | undefined)[] = [];
  const server = await smallServer((request, response) => {
    lastIds.push(request.headers['last-event-id'] as string | undefined);
    if (lastIds.length === 1) {
      sse(response, 1, 2);
      setImmediate(() => response.destroy());
    } else if (lastIds.length === 2) json(response, 503, {});
    else sse(response, 3);
  });
  const stop = new AbortController();
  const seen: string[] = [];
  const connected: boolean[] = [];
  const reading = readEventStream({
    api: new ApiClient({ server: server.url, token: 't', timeoutMs: 2_000 }),
    query: {},
    signal: stop.signal,
    onEvent: (event) => seen.push(event.id),
    onConnected: (now) => connected.push(now),
    minRetryMs: 1,
  });
  await waitFor(() => seen.length === 3, { what: 'three events' });
  stop.abort();
  await reading;
  await server.stop();
  assert.equal(seen, ['1', '2', '3']);
  assert.equal(lastIds, [undefined, '2', '2']);
  assert.equal(connected, [true, false, false, true]);
});

test('a connection on which nothing comes, not even a ping, counts as dead', async () => {
  const server = await smallServer((_, response) => sse(response));
  const stop = new AbortController();
  const reading = readEventStream({
    api: new ApiClient({ server: server.url, token: 't', timeoutMs: 2_000 }),
    query: {},
    signal: stop.signal,
    onEvent: () => {},
    silenceMs: 50,
    minRetryMs: 1,
  });
  await waitFor(() => server.asked.length >= 2, { what: 'a second connection' });
  stop.abort();
  await reading;
  await server.stop();
});

test('a stream that is refused for good is not asked for again', async () => {
  const server = await smallServer((_, response) => json(response, 403, { detail: 'No.' }));
  let error: unknown;
  await readEventStream({
    api: new ApiClient({ server: server.url, token: 't', timeoutMs: 2_000 }),
    query: {},
    signal: new AbortController().signal,
    onEvent: () => {},
  }).catch((caught) => {
    error = caught;
  });
  await server.stop();
  assert.instance(error, ApiRefused);
  assert.is(server.asked.length, 1);
});

test.run();
