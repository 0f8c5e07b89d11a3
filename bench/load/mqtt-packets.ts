/** The packets of MQTT 3.1.1 that a subscriber and a publisher with QoS 1 need. */
export const PACKET = {
  connect: 1,
  connectAnswer: 2,
  publish: 3,
  publishAnswer: 4,
  subscribe: 8,
  subscribeAnswer: 9,
  pingRequest: 12,
  pingAnswer: 13,
} as const;

const QOS_1 = 0x02;
/** Subscriptions have this flag by definition. */
const SUBSCRIBE_FLAGS = 0x02;

export function connectPacket(client: string, keepAliveSeconds: number): Uint8Array {
  // Level 4 is 3.1.1; the flags ask for a clean session.
  return mqttPacket(
    PACKET.connect,
    Buffer.concat([text('MQTT'), Buffer.from([4, 2, 0, keepAliveSeconds]), text(client)]),
  );
}

export function subscribePacket(topic: string): Uint8Array {
  return mqttPacket(
    PACKET.subscribe,
    Buffer.concat([Buffer.from([0, 1]), text(topic), Buffer.from([1])]),
    SUBSCRIBE_FLAGS,
  );
}

export function publishPacket(topic: string, id: number, payload: string): Uint8Array {
  return mqttPacket(
    PACKET.publish,
    Buffer.concat([text(topic), Buffer.from([id >> 8, id & 255]), Buffer.from(payload)]),
    QOS_1,
  );
}

export function mqttPacket(type: number, body: Uint8Array, flags = 0): Uint8Array {
  const length: number[] = [];
  for (let rest = body.length; length.length === 0 || rest > 0; rest >>= 7) {
    length.push((rest & 127) | (rest > 127 ? 128 : 0));
  }
  return Buffer.concat([Buffer.from([(type << 4) | flags, ...length]), body]);
}

/** `bytes` holds one whole packet. Throws if it is incomplete. */
export function readPacket(bytes: Uint8Array): { type: number; flags: number; body: Uint8Array } {
  let length = 0;
  let start = 1;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[start++];
    if (byte === undefined) throw new Error('a cut MQTT packet');
    length |= (byte & 127) << shift;
    if (byte < 128) break;
  }
  if (bytes.length !== start + length) throw new Error('not one whole MQTT packet');
  const first = bytes[0] as number;
  return { type: first >> 4, flags: first & 15, body: bytes.subarray(start) };
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
}
