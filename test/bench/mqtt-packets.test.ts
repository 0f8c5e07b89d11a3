import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  connectPacket,
  mqttPacket,
  PACKET,
  publishPacket,
  readPacket,
  subscribePacket,
} from '../../bench/load/mqtt-packets.ts';

test('a CONNECT packet is what MQTT 3.1.1, section 3.1, lays out', () => {
  assert.is(
    Buffer.from(connectPacket('a', 60)).toString('hex'),
    // type, length; "MQTT", level 4, clean session, 60 s; "a"
    ['100d', '00044d515454', '04', '02', '003c', '000161'].join(''),
  );
});

test('a SUBSCRIBE packet asks for QoS 1 and has the flags it must have', () => {
  assert.is(Buffer.from(subscribePacket('t')).toString('hex'), '8206000100017401');
});

test('packets of any length are read as they were written', () => {
  for (const length of [0, 1, 127, 128, 16_383, 16_384]) {
    const body = new Uint8Array(length).fill(7);
    const { type, flags, body: read } = readPacket(mqttPacket(PACKET.publish, body, 2));
    assert.is(type, PACKET.publish);
    assert.is(flags, 2);
    assert.is(read.length, length);
  }
  const { body } = readPacket(publishPacket('topic', 258, 'payload'));
  assert.is(Buffer.from(body).toString('latin1'), '\0\x05topic\x01\x02payload');
});

test('a cut packet is an error', () => {
  const packet = publishPacket('topic', 1, 'x'.repeat(200));
  assert.throws(() => readPacket(packet.subarray(0, 1)), /cut/);
  assert.throws(() => readPacket(packet.subarray(0, 100)), /not one whole/);
});

test.run();
