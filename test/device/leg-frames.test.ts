import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocketServer } from 'ws';
import { wsLegDial } from '../../device/index.ts';
import { clientFrame, LegFrameReader, OPCODE } from '../../device/tunnels/leg-frames.ts';
import { TUNNEL_LIMITS, TUNNEL_SUBPROTOCOL } from '../../protocol/index.ts';
import type { LegClosed } from '../../tunnel/leg.ts';

function listen() {
  const heard: string[] = [];
  const reader = new LegFrameReader({
    message: (payload, isBinary) =>
      heard.push(`${isBinary ? 'binary' : 'text'} ${payload.toString('latin1')}`),
    control: (opcode, payload) => heard.push(`control ${opcode} ${payload}`),
    fault: (code) => heard.push(`fault ${code}`),
  });
  const feed = (bytes: Uint8Array, step = bytes.length) => {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + Math.min(step, reader.room.length));
      reader.room.set(part);
      reader.filled(part.length);
      at += part.length;
    }
  };
  return { heard, feed };
}

function serverFrame(first: number, payload: Uint8Array): Buffer {
  const { length } = payload;
  const header = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  header[0] = first;
  header[1] = length < 126 ? length : length < 65_536 ? 126 : 127;
  if (header.length === 4) header.writeUInt16BE(length, 2);
  if (header.length === 10) header.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([header, payload]);
}

const FINAL = 0x80;

test('messages of all lengths arrive whole, however the network cuts them', () => {
  const payloads = [0, 1, 125, 126, 65_535, 65_536, TUNNEL_LIMITS.messageBytes].map((n) => randomBytes(n));
  const bytes = Buffer.concat(payloads.map((payload) => serverFrame(FINAL | OPCODE.binary, payload)));
  for (const step of [1, 7, 4_096, 65_536, bytes.length]) {
    const { heard, feed } = listen();
    feed(bytes, step);
    assert.equal(
      heard,
      payloads.map((payload) => `binary ${payload.toString('latin1')}`),
      `${step} at a time`,
    );
  }
});

test('fragments become one message, and control frames may come between them', () => {
  const { heard, feed } = listen();
  feed(serverFrame(OPCODE.text, Buffer.from('one ')));
  feed(serverFrame(FINAL | OPCODE.ping, Buffer.from('?')));
  for (let i = 0; i < 100; i++) feed(serverFrame(OPCODE.continuation, Buffer.alloc(0)));
  feed(serverFrame(FINAL | OPCODE.continuation, Buffer.from('two')));
  feed(serverFrame(FINAL | OPCODE.text, Buffer.from('three')));
  assert.equal(heard, ['control 9 ?', 'text one two', 'text three']);
});

test('what a server may not send ends the leg', () => {
  const long = TUNNEL_LIMITS.messageBytes + 1;
  const cases: [string, Buffer, number][] = [
    ['too long', serverFrame(FINAL | OPCODE.binary, Buffer.alloc(long)), 1009],
    [
      'of a length without end',
      Buffer.from([FINAL | OPCODE.binary, 127, 255, 255, 255, 255, 255, 255, 255, 255]),
      1009,
    ],
    ['too long in fragments', Buffer.concat([1, 0].map((op) => serverFrame(op, Buffer.alloc(40_000)))), 1009],
    ['masked', Buffer.from([FINAL | OPCODE.text, FINAL | 1, 0, 0, 0, 0, 65]), 1002],
    ['compressed', serverFrame(FINAL | 0x40 | OPCODE.text, Buffer.from('a')), 1002],
    ['a fragment of nothing', serverFrame(FINAL | OPCODE.continuation, Buffer.from('a')), 1002],
    ['unknown', serverFrame(FINAL | 3, Buffer.from('a')), 1002],
    ['a ping in fragments', serverFrame(OPCODE.ping, Buffer.from('a')), 1002],
    ['a ping too long', serverFrame(FINAL | OPCODE.ping, Buffer.alloc(126)), 1009],
  ];
  for (const [what, bytes, code] of cases) {
    const { heard, feed } = listen();
    feed(Buffer.concat([bytes, serverFrame(FINAL | OPCODE.text, Buffer.from('after'))]));
    assert.equal(heard, [`fault ${code}`], what);
  }
});

/** A leg of ours and a WebSocket server that is not. */
async function withServer(
  serve: (socket: import('ws').WebSocket) => void,
): Promise<{ url: string; stop(): Promise<void> }> {
  const server = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    handleProtocols: () => TUNNEL_SUBPROTOCOL,
  });
  server.on('connection', serve);
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return {
    url: `ws://127.0.0.1:${port}/tunnel`,
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

test('a leg and an ordinary WebSocket server understand each other', async () => {
  const server = await withServer((socket) => {
    socket.on('message', (data: Buffer, isBinary) => {
      if (data.toString() === 'bye') socket.close(4050, 'leaving');
      else socket.send(data, { binary: isBinary });
    });
    socket.ping('are you there?');
    socket.on('pong', (data) => socket.send(`pong ${data}`));
  });
  const heard: (string | number)[] = [];
  const blocks = [1, 200, 65_536].map((n) => randomBytes(n));
  const closed = await new Promise<LegClosed>((resolve) => {
    const take = (what: string | number) => {
      heard.push(what);
      if (heard.length === blocks.length + 1) leg.sendText('bye');
    };
    const leg = wsLegDial()(server.url, {
      opened: () => {
        for (const block of blocks) leg.sendBinary([block.subarray(0, 1), block.subarray(1)]);
      },
      text: (text) => take(text),
      binary: (frame) => take(blocks.findIndex((block) => block.equals(frame))),
      closed: resolve,
    });
  });
  await server.stop();
  assert.equal(
    heard.filter((what) => typeof what === 'number'),
    [0, 1, 2],
  );
  assert.ok(heard.includes('pong are you there?'));
  assert.equal(closed, { code: 4050, reason: 'leaving' });
});

test('what a leg sends to a machine elsewhere without encryption is masked', () => {
  const payload = Buffer.from('readable');
  const [header, masked = payload] = clientFrame(
    OPCODE.binary,
    [payload.subarray(0, 3), payload.subarray(3)],
    true,
  );
  assert.not.equal(Buffer.from(masked).toString(), 'readable');
  const mask = header.subarray(2);
  assert.equal(Buffer.from(masked.map((byte, i) => byte ^ (mask[i & 3] as number))).toString(), 'readable');
  assert.equal(payload.toString(), 'readable');
});

async function answeredBy(answer: (socket: Socket) => void): Promise<LegClosed> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => answer(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const closed = await new Promise<LegClosed>((resolve) => {
    wsLegDial({ handshakeTimeoutMs: 200 })(`ws://127.0.0.1:${port}/tunnel`, {
      opened: () => assert.unreachable(),
      text: () => assert.unreachable(),
      binary: () => assert.unreachable(),
      closed: resolve,
    });
  });
  server.close();
  return closed;
}

test('an answer that is no WebSocket of a tunnel is given up, and said', async () => {
  const http = (status: string, ...fields: string[]) =>
    [`HTTP/1.1 ${status}`, ...fields, '\r\n'].join('\r\n');
  assert.equal(await answeredBy((socket) => socket.write(http('404 Not Found'))), {
    code: 1006,
    reason: 'HTTP 404',
    nobody: true,
  });
  assert.equal((await answeredBy((socket) => socket.write(http('503 Busy')))).reason, 'HTTP 503');
  const forged = http('101 Switching Protocols', 'Upgrade: websocket', 'Sec-WebSocket-Accept: x');
  assert.match((await answeredBy((socket) => socket.write(forged))).reason, /not the WebSocket/);
  assert.match((await answeredBy((socket) => socket.write('x'.repeat(20_000)))).reason, /not HTTP/);
  assert.equal((await answeredBy(() => {})).reason, 'no answer');
  assert.equal((await answeredBy((socket) => socket.destroy())).code, 1006);
});

test.run();
