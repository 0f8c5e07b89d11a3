import { freePort } from '../../../test/wait.ts';
import { connectPacket, publishPacket } from '../../load/mqtt-packets.ts';
import type { Peer } from '../peer.ts';
import { ensureProgram, startProgram, versionOf } from './program.ts';
import { connectPublisher } from './tcp-publisher.ts';

const topic = 'fleet/orders';
/** A publisher that publishes now and then; no keep-alive. */
const hello = connectPacket('bench', 0);
/** CONNACK, accepted. */
const accepted = Buffer.from([0x20, 2, 0, 0]);

export const mosquitto: Peer = {
  name: 'mosquitto',
  how: 'one process, MQTT 3.1.1 over WebSocket, QoS 1, nothing on disk',
  dialect: 'mqtt',
  dialectOptions: { topic },
  async start({ install }) {
    const command = await ensureProgram({ program: 'mosquitto', packages: ['mosquitto'], install });
    const [port, mqttPort] = [await freePort(), await freePort()];
    const service = await startProgram({
      name: 'mosquitto',
      command,
      port,
      // Its WebSocket listens on all addresses unless told the family.
      config: () => `
listener ${mqttPort} 127.0.0.1
listener ${port} 127.0.0.1
protocol websockets
socket_domain ipv4
allow_anonymous true
persistence false
log_type error
${process.getuid?.() === 0 ? 'user root' : ''}
`,
      arguments: (file) => ['-c', file],
    });
    return {
      version: await versionOf(command, '-h'),
      ports: [port],
      pids: [service.pid],
      publisher: () =>
        connectPublisher({
          port: mqttPort,
          hello,
          accepted,
          message: (payload) => publishPacket(topic, 1, payload),
        }),
      stop: () => service.stop(),
    };
  },
};
