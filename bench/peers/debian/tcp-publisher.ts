import { once } from 'node:events';
import { connect } from 'node:net';
import type { Publisher } from '../peer.ts';

/**
 * A publisher on the protocol's plain TCP port. `hello` is sent first; what the server answers to it ends
 * with `accepted`. What it says afterwards is not read for meaning, only that it goes on reading.
 */
export async function connectPublisher(options: {
  port: number;
  hello: Uint8Array | string;
  accepted: Uint8Array | string;
  message(payload: string): Uint8Array | string;
}): Promise<Publisher> {
  const socket = connect({ host: '127.0.0.1', port: options.port, noDelay: true });
  const failed = once(socket, 'close').then(() => {
    throw new Error('the connection of the publisher was closed');
  });
  // Only those who wait for something hear of it.
  failed.catch(() => {});
  await Promise.race([once(socket, 'connect'), failed]);
  const accepted = Buffer.from(options.accepted);
  const welcome = new Promise<void>((resolve) => {
    let said = Buffer.alloc(0);
    socket.on('data', (bytes) => {
      said = Buffer.concat([said, bytes]).subarray(-4_096);
      if (said.includes(accepted)) resolve();
    });
  });
  socket.on('error', () => {
    // `close` follows.
  });
  socket.write(options.hello);
  await Promise.race([welcome, failed]);
  return {
    publish: (payload) =>
      new Promise((resolve, reject) => {
        socket.write(options.message(payload), (error) => (error ? reject(error) : resolve()));
      }),
    close: () => socket.destroy(),
  };
}
