/** Tunnels between TCP sockets at both ends, as operators use them. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { joinSocket, joinStreams, tcpConnect } from '../../device/index.ts';
import { pattern } from '../tunnel/pair.ts';
import { freePort, waitFor } from '../wait.ts';
import { type Rig, withRig } from './rig.ts';
import { type End, granted, makeEnd } from './tunnel-rig.ts';

async function listen(onSocket: (socket: Socket) => void): Promise<{ server: Server; port: number }> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    // Of a tunnel that is closed in the middle, at the end of a test.
    socket.on('error', () => {});
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, port: (server.address() as { port: number }).port };
}

/** A tunnel to `port` whose operator's end listens; what connects there comes out at `port`. */
async function withTunnel(
  rig: Rig,
  port: number,
  body: (local: number, ends: { operator: End; device: End }) => Promise<void>,
): Promise<void> {
  const made = await granted(rig, { port });
  const device = makeEnd('device', made.device, { accept: tcpConnect });
  const operator = makeEnd('operator', made.operator);
  const { server, port: local } = await listen((socket) => {
    operator.tunnel.open({ host: '127.0.0.1', port }, (stream) => joinSocket(stream, socket));
  });
  try {
    await Promise.all([device.tunnel.start(), operator.tunnel.start()]);
    await body(local, { operator, device });
  } finally {
    operator.tunnel.close();
    device.tunnel.close();
    server.close();
  }
}

function exchange(port: number, bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const got: Buffer[] = [];
    socket.on('data', (part: Buffer) => got.push(part));
    socket.on('end', () => resolve(Buffer.concat(got)));
    socket.on('error', reject);
    socket.end(bytes);
  });
}

test('T-10: a socket that was half closed still gets its answer, and all of it', async () => {
  // Answers only when the question has ended.
  const { server, port } = await listen((socket) => {
    const got: Buffer[] = [];
    socket.on('data', (part: Buffer) => got.push(part));
    socket.on('end', () => socket.end(Buffer.concat(got).reverse()));
  });
  await withRig({}, async (rig) => {
    await withTunnel(rig, port, async (local, { operator, device }) => {
      const questions = Array.from({ length: 10 }, (_, index) => pattern(1 + index * 150_000, index));
      const answers = await Promise.all(questions.map((question) => exchange(local, question)));
      for (const [index, answer] of answers.entries()) {
        assert.ok(answer.equals(Buffer.from(questions[index] ?? []).reverse()), `stream ${index}`);
      }
      await waitFor(() => operator.tunnel.streams === 0 && device.tunnel.streams === 0, {
        what: 'all streams to end',
      });
    });
  });
  server.close();
});

test('T-11: a target that refuses, or a broken connection, does not look like an end', async () => {
  const { server, port } = await listen((socket) => {
    socket.write('some of it');
    socket.once('data', () => socket.resetAndDestroy());
  });
  const nobody = await freePort();
  await withRig({}, async (rig) => {
    await withTunnel(rig, port, async (local, { device }) => {
      const broken = connect({ port: local, host: '127.0.0.1' });
      const codes: (string | undefined)[] = [];
      broken.on('error', (error: NodeJS.ErrnoException) => codes.push(error.code));
      broken.once('data', () => broken.write('break'));
      await waitFor(() => codes.length > 0, { what: 'the break to come through' });
      assert.equal(codes, ['ECONNRESET']);
      await waitFor(() => device.tunnel.streams === 0, { what: 'the stream to be over' });
    });
    await withTunnel(rig, nobody, async (_local, { operator }) => {
      const ends: (string | undefined)[] = [];
      operator.tunnel.open({ host: '127.0.0.1', port: nobody }, () => ({
        data: () => {},
        end: () => {},
        writable: () => {},
        closed: (reset) => ends.push(`${reset?.code}: ${reset?.reason}`),
      }));
      await waitFor(() => ends.length > 0, { what: 'the refusal' });
      assert.equal(ends, [`unreachable: 127.0.0.1 port ${nobody}: ECONNREFUSED`]);
    });
  });
  server.close();
});

test('T-10, T-11: an end and a reset in one breath leave no connection behind', async () => {
  const open = new Set<Socket>();
  const { server, port } = await listen((socket) => {
    open.add(socket);
    socket.on('data', () => {});
    socket.on('close', () => open.delete(socket));
    // Whoever is gone does not take it.
    const timer = setInterval(() => socket.write('still there?'), 20);
    socket.on('close', () => clearInterval(timer));
  });
  await withRig({}, async (rig) => {
    await withTunnel(rig, port, async (_local, { operator, device }) => {
      for (let n = 0; n < 10; n++) {
        const nothing = () => {};
        let connected = false;
        const opened = () => {
          connected = true;
        };
        const handlers = { opened, data: nothing, end: nothing, writable: nothing, closed: nothing };
        const stream = operator.tunnel.open({ host: '127.0.0.1', port }, handlers);
        await waitFor(() => connected, { what: 'the target to be connected' });
        stream.write(Buffer.from('the last words'));
        stream.end();
        stream.reset('aborted', 'never mind');
      }
      await waitFor(() => device.tunnel.streams === 0 && open.size === 0, {
        what: 'every connection to the target to be closed',
      });
    });
  });
  server.close();
});

test('T-9: a reader that stands still stops the writer, and memory is bounded by the windows', async () => {
  const readers: Socket[] = [];
  const { server, port } = await listen((socket) => {
    socket.pause();
    readers.push(socket);
  });
  await withRig({}, async (rig) => {
    await withTunnel(rig, port, async (local, { operator }) => {
      const writer = connect({ port: local, host: '127.0.0.1' });
      writer.on('error', () => {});
      const bytes = pattern(64 * 1024 * 1024);
      writer.end(bytes);
      let last = -1;
      await waitFor(
        () => {
          const { sent } = operator.tunnel.bytes;
          const still = sent === last && sent > 0;
          last = sent;
          return still;
        },
        { what: 'the writer to be stopped', intervalMs: 300 },
      );
      assert.ok(last < bytes.length / 2, `${last} bytes went out`);
      assert.ok((await rig.metric('tunnel_buffered_bytes')) <= 2 * 1024 * 1024);
      let got = 0;
      const [reader] = readers;
      reader?.on('data', (part: Buffer) => {
        got += part.length;
      });
      reader?.resume();
      await waitFor(() => got === bytes.length, { what: 'the rest' });
      reader?.end();
      writer.destroy();
    });
  });
  server.close();
});

test('T-10: input and output that are apart, as standard input and output are, end apart', async () => {
  const { server, port } = await listen((socket) => {
    socket.on('end', () => socket.end(' and the answer'));
    socket.write('a greeting');
    socket.resume();
  });
  await withRig({}, async (rig) => {
    await withTunnel(rig, port, async (_local, { operator }) => {
      const input = new PassThrough();
      const output = new PassThrough();
      const got: Buffer[] = [];
      let ended = false;
      output.on('data', (part: Buffer) => got.push(part));
      output.on('end', () => {
        ended = true;
      });
      operator.tunnel.open({ host: '127.0.0.1', port }, (stream) => joinStreams(stream, input, output));
      input.end('a question');
      await waitFor(() => ended, { what: 'the output to end' });
      assert.is(Buffer.concat(got).toString(), 'a greeting and the answer');
      await waitFor(() => operator.tunnel.streams === 0, { what: 'the stream to be over' });
    });
  });
  server.close();
});

test.run();
