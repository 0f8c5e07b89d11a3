/**
 * The two ends of one fast stream, and a plain relay between them to compare with:
 * `serve` (listens, prints its port; sends without end to whoever asks for `D`, takes from whoever says `U`),
 * `relay PORT` (listens, prints its port; passes on to PORT), `run PORT D|U SECONDS` (prints bytes per second).
 */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

const BLOCK = Buffer.alloc(256 * 1024, 0xa5);
/** Until the stream has found its pace. */
const WARM_UP_MS = 500;

const [mode, ...args] = process.argv.slice(2);

async function listen(serve: (socket: Socket) => void): Promise<void> {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  console.log(`ready ${(server.address() as { port: number }).port}`);
}

function pump(socket: Socket): void {
  while (!socket.destroyed && socket.write(BLOCK));
  socket.once('drain', () => pump(socket));
}

async function run(port: number, direction: string, seconds: number): Promise<number> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  socket.write(direction);
  const moved = () => (direction === 'D' ? socket.bytesRead : socket.bytesWritten - socket.writableLength);
  if (direction === 'D') socket.on('data', () => {});
  else pump(socket);
  await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS));
  const [before, began] = [moved(), performance.now()];
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  const rate = (moved() - before) / ((performance.now() - began) / 1_000);
  socket.destroy();
  return rate;
}

if (mode === 'serve') {
  await listen((socket) => {
    socket.once('data', (first) => {
      if (first[0] === 0x44) pump(socket);
      else socket.resume();
    });
  });
} else if (mode === 'relay') {
  await listen((socket) => {
    const target = connect({ port: Number(args[0]), host: '127.0.0.1', noDelay: true });
    target.on('error', () => socket.destroy());
    socket.once('close', () => target.destroy());
    target.once('close', () => socket.destroy());
    socket.pipe(target).pipe(socket);
  });
} else {
  console.log(`rate ${await run(Number(args[0]), args[1] ?? 'D', Number(args[2] ?? 1))}`);
}
