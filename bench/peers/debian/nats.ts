import { freePort } from '../../../test/wait.ts';
import type { Peer } from '../peer.ts';
import { ensureProgram, startProgram, versionOf } from './program.ts';
import { connectPublisher } from './tcp-publisher.ts';

const topic = 'fleet.orders';

export const natsServer: Peer = {
  name: 'nats-server',
  how: 'one process on all cores, NATS over WebSocket',
  dialect: 'nats',
  dialectOptions: { topic },
  async start({ install }) {
    const command = await ensureProgram({ program: 'nats-server', packages: ['nats-server'], install });
    const [port, natsPort] = [await freePort(), await freePort()];
    const service = await startProgram({
      name: 'nats-server',
      command,
      port,
      config: () => `
listen: "127.0.0.1:${natsPort}"
websocket { listen: "127.0.0.1:${port}", no_tls: true }
`,
      arguments: (file) => ['-c', file],
    });
    return {
      version: await versionOf(command, '-v'),
      ports: [port],
      pids: [service.pid],
      publisher: () =>
        connectPublisher({
          port: natsPort,
          hello: 'CONNECT {"verbose":false,"pedantic":false,"lang":"bench","version":"1"}\r\nPING\r\n',
          accepted: 'PONG\r\n',
          message: (payload) => `PUB ${topic} ${Buffer.byteLength(payload)}\r\n${payload}\r\n`,
        }),
      stop: () => service.stop(),
    };
  },
};
