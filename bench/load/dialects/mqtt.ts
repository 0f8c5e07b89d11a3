/**
 * MQTT 3.1.1 over WebSocket: a clean session, one subscription with QoS 1, every message acknowledged. One
 * packet for each frame.
 */
import { sharedNow } from '../../measure/clock.ts';
import type { DialectFactory } from '../dialect.ts';
import { clientFrame } from '../frames.ts';
import { messageKey } from '../message-key.ts';
import { connectPacket, mqttPacket, PACKET, readPacket, subscribePacket } from '../mqtt-packets.ts';

/** The default of Mosquitto's own clients. */
const KEEP_ALIVE_S = 60;
const PING = clientFrame(mqttPacket(PACKET.pingRequest, new Uint8Array()));

const dialect: DialectFactory = ({ marks, counters, options }) => {
  const subscribe = clientFrame(subscribePacket(options.topic ?? 'orders'));
  return {
    path: '/mqtt',
    headers: ['Sec-WebSocket-Protocol: mqtt'],
    opened: (connection) =>
      connection.send(clientFrame(connectPacket(`device-${connection.number}`, KEEP_ALIVE_S))),
    message(connection, payload) {
      const { type, flags, body } = readPacket(payload);
      if (type === PACKET.connectAnswer && body[1] === 0) connection.send(subscribe);
      else if (type === PACKET.subscribeAnswer && body[2] === 1) connection.ready(performance.now());
      else if (type === PACKET.publish) {
        const id = 2 + (((body[0] as number) << 8) | (body[1] as number));
        const known = (flags & 0x06) !== 0;
        marks.add('arrived', messageKey(body.subarray(known ? id + 2 : id)), sharedNow());
        if (known) connection.send(clientFrame(mqttPacket(PACKET.publishAnswer, body.slice(id, id + 2))));
      } else if (type !== PACKET.pingAnswer) counters.add(`MQTT packet ${type}`);
    },
    heartbeat: (connection) => connection.send(PING),
    heartbeatMs: KEEP_ALIVE_S * 1_000,
  };
};
export default dialect;
