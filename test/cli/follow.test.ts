import type { ServerResponse } from 'node:http';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../cli/api/api-client.ts';
import { followCommand } from '../../cli/api/follow.ts';
import type { CliError } from '../../cli/exit-codes.ts';
import { waitFor } from '../wait.ts';
import { commandView, json, smallServer } from './small-server.ts';

const FINISHED = commandView({ finishedAt: '2026-01-01T00:00:01.000Z' }, { succeeded: 2 });

interface Scene {
  command: unknown;
  /** How the next requests are answered: 200 unless set. */
  status: number;
  streams: ServerResponse[];
  streamStatus: number;
}

async function scene(work: (scene: Scene, follow: Follow, asked: string[]) => Promise<void>): Promise<void> {
  const state: Scene = { command: commandView({}, { sent: 2 }), status: 200, streams: [], streamStatus: 200 };
  const server = await smallServer((request, response) => {
    if (!request.url?.startsWith('/v1/events')) {
      json(response, state.status, state.status === 200 ? state.command : { detail: 'No.' });
    } else if (state.streamStatus !== 200) json(response, state.streamStatus, {});
    else {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(': ping\n\n');
      state.streams.push(response);
    }
  });
  const api = new ApiClient({ server: server.url, token: 't', timeoutMs: 2_000 });
  const follow: Follow = (over) =>
    followCommand({ api, commandId: 'c1', signal: new AbortController().signal, gapMs: 1, ...over });
  try {
    await work(state, follow, server.asked);
  } finally {
    await server.stop();
  }
}
type Follow = (over?: Partial<Parameters<typeof followCommand>[0]>) => ReturnType<typeof followCommand>;

const failure = (promise: Promise<unknown>): Promise<CliError> =>
  promise.then(
    () => {
      throw new Error('should have failed');
    },
    (error) => error,
  );

test('an event makes it look at once; it ends when the command is finished', () =>
  scene(async (state, follow, asked) => {
    const seen: number[] = [];
    const following = follow({
      livePollMs: 60_000,
      onChange: ({ counts }) => seen.push(counts.succeeded ?? 0),
    });
    await waitFor(() => state.streams.length === 1 && seen.length > 0, { what: 'the stream' });
    const before = asked.length;
    state.command = FINISHED;
    state.streams[0]?.write('id: 1\nevent: command.finished\ndata: {}\n\n');
    assert.is((await following).counts.succeeded, 2);
    assert.ok(asked.length - before <= 3, asked.join('\n'));
    assert.is(seen.at(-1), 2);
  }));

test('a stream that is cut in the middle loses nothing', () =>
  scene(async (state, follow) => {
    const following = follow({ livePollMs: 60_000, deadPollMs: 60_000 });
    await waitFor(() => state.streams.length === 1, { what: 'the stream' });
    // What happens while the stream is away is found when it is back.
    state.command = FINISHED;
    state.streams[0]?.destroy();
    assert.is((await following).counts.succeeded, 2);
  }));

test('without a stream it polls', () =>
  scene(async (state, follow) => {
    state.streamStatus = 403;
    const following = follow({ deadPollMs: 5 });
    setImmediate(() => {
      state.command = FINISHED;
    });
    assert.is((await following).counts.succeeded, 2);
  }));

test('a server that is away for a while is waited for, one that stays away is exit code 4', () =>
  scene(async (state, follow, asked) => {
    state.status = 503;
    state.streamStatus = 503;
    const following = follow({ deadPollMs: 5 });
    await waitFor(() => asked.length > 5, { what: 'some tries' });
    state.status = 200;
    state.command = FINISHED;
    assert.is((await following).id, 'c1');
    state.status = 503;
    assert.is((await failure(follow({ deadPollMs: 5, unavailableMs: 50 }))).exitCode, 4);
  }));

test('a wait timeout is exit code 6, an interruption 130, an unknown command 3', () =>
  scene(async (state, follow) => {
    const late = await failure(follow({ waitTimeoutMs: 50, deadPollMs: 10 }));
    assert.is(late.exitCode, 6);
    assert.match(late.message, /pushpoint commands wait c1/);
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 20);
    assert.is((await failure(follow({ signal: stop.signal }))).exitCode, 130);
    state.status = 404;
    assert.is((await failure(follow())).exitCode, 3);
  }));

test.run();
