/**
 * The two ends of one fast stream, and a plain relay between them to compare with. A byte says which way it
 * flows: `D` from the device, `U` to it. Each mode prints what it is ready with, or a `rate` line of JSON:
 * bytes per second, all bytes, and what a megabyte cost this process of the processor, milliseconds:
 *
 * - `device SERVER TOKEN`: the device's end. A device that serves the stream itself, and listens on a port
 *   for the same by TCP.
 * - `relay PORT`: listens, and passes on to PORT.
 * - `tcp PORT D|U SECONDS`: the operator's end, by TCP to PORT.
 * - `tunnel SERVER DEVICE PORT D|U SECONDS`: the operator's end, by a tunnel; the API token is in
 *   PUSHPOINT_TOKEN.
 */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { ApiClient } from '../../cli/api/api-client.ts';
import { OperatorTunnel } from '../../cli/tunnel/operator-tunnel.ts';
import { enroll, MemoryStore, PushpointDevice } from '../../device/index.ts';
import type { StreamHandlers, TunnelStream } from '../../tunnel/index.ts';

const BLOCK = Buffer.alloc(256 * 1024, 0xa5);
const FROM_DEVICE = 0x44;
/** Until the stream has found its pace. */
const WARM_UP_MS = 500;

// As programs end by themselves, so that profilers get to write what they saw.
process.once('SIGTERM', () => process.exit());

const [mode, ...args] = process.argv.slice(2);

async function listen(serve: (socket: Socket) => void): Promise<number> {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as { port: number }).port;
}

function pumpSocket(socket: Socket): void {
  while (!socket.destroyed && socket.write(BLOCK));
  socket.once('drain', () => pumpSocket(socket));
}

function pumpStream(stream: TunnelStream): void {
  while (!stream.over && stream.write(BLOCK));
}

/** Counts what comes, and sends without end once `sends` says so. */
function streamEnd(
  stream: TunnelStream,
  sends: (first: Uint8Array) => boolean,
  count: (bytes: number) => void,
): StreamHandlers {
  let sending: boolean | undefined;
  return {
    data: (bytes) => {
      sending ??= sends(bytes);
      if (sending) pumpStream(stream);
      count(bytes.length);
      stream.consumed(bytes.length);
    },
    end: () => stream.end(),
    writable: () => pumpStream(stream),
    closed: () => {
      // Its tunnel ended; so does the measurement.
    },
  };
}

export interface Rate {
  bytesPerSecond: number;
  bytes: number;
  cpuMsPerMb: number;
}

async function rateOf(moved: () => number, seconds: number): Promise<Rate> {
  await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS));
  const [before, began, cpu] = [moved(), performance.now(), process.cpuUsage()];
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  const bytes = moved();
  const { user, system } = process.cpuUsage(cpu);
  return {
    bytesPerSecond: (bytes - before) / ((performance.now() - began) / 1_000),
    bytes,
    cpuMsPerMb: (user + system) / 1_000 / ((bytes - before) / 1e6),
  };
}

async function device(server: string, token: string): Promise<void> {
  const port = await listen((socket) => {
    socket.once('data', (first) => {
      if (first[0] === FROM_DEVICE) pumpSocket(socket);
      else socket.on('data', () => {});
    });
  });
  const store = new MemoryStore();
  const { deviceId } = await enroll({ server, token, store, name: 'flow' });
  const serve = (stream: TunnelStream) => {
    stream.accepted();
    return streamEnd(
      stream,
      (first) => first[0] === FROM_DEVICE,
      () => {},
    );
  };
  await new PushpointDevice({
    store,
    tunnels: { serve: (to) => (to.port === port ? serve : undefined) },
  }).start();
  console.log(`ready ${JSON.stringify({ deviceId, port })}`);
}

async function overTcp(port: number, way: string, seconds: number): Promise<Rate> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  socket.on('data', () => {});
  socket.write(way);
  if (way === 'U') pumpSocket(socket);
  const rate = await rateOf(
    () => (way === 'D' ? socket.bytesRead : socket.bytesWritten - socket.writableLength),
    seconds,
  );
  socket.destroy();
  return rate;
}

async function overTunnel(
  wish: { server: string; deviceId: string; port: number },
  way: string,
  seconds: number,
): Promise<Rate> {
  const { server, ...rest } = wish;
  const api = new ApiClient({ server, token: process.env.PUSHPOINT_TOKEN ?? '', timeoutMs: 30_000 });
  const tunnel = await OperatorTunnel.open(rest, { api, note: () => {} });
  let received = 0;
  const stream = tunnel.stream((made) =>
    streamEnd(
      made,
      () => false,
      (bytes) => (received += bytes),
    ),
  );
  stream.write(Buffer.from(way));
  if (way === 'U') pumpStream(stream);
  const rate = await rateOf(() => (way === 'D' ? received : stream.bytesWritten), seconds);
  await tunnel.close();
  return rate;
}

const [first = '', second = '', third = '', fourth = '', fifth = ''] = args;
switch (mode) {
  case 'device':
    await device(first, second);
    break;
  case 'relay':
    console.log(`ready ${await listen(relayTo(Number(first)))}`);
    break;
  case 'tcp':
    console.log(`rate ${JSON.stringify(await overTcp(Number(first), second, Number(third)))}`);
    break;
  default: {
    const wish = { server: first, deviceId: second, port: Number(third) };
    console.log(`rate ${JSON.stringify(await overTunnel(wish, fourth, Number(fifth)))}`);
  }
}

function relayTo(port: number): (socket: Socket) => void {
  return (socket) => {
    const target = connect({ port, host: '127.0.0.1', noDelay: true });
    target.on('error', () => socket.destroy());
    socket.once('close', () => target.destroy());
    target.once('close', () => socket.destroy());
    socket.pipe(target).pipe(socket);
  };
}
