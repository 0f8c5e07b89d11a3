/**
 * Our own device at scale (PROTOCOL.md): proves its key, acknowledges commands and reports their results at once, keeps
 * results until they are settled and says them again after `welcome`. It does not check signatures of orders: that work
 * is the device's, and devices have a processor each.
 */
import { type KeyObject, sign } from 'node:crypto';
import {
  type Challenge,
  decodeGatewayMessage,
  decodeOrderBody,
  encodeDeviceMessage,
  type Order,
  proofBytes,
  SUBPROTOCOL,
} from '../../../protocol/index.ts';
import { sharedNow } from '../../measure/clock.ts';
import type { Connection } from '../connection.ts';
import type { Dialect, DialectTools } from '../dialect.ts';
import { clientFrame, joined } from '../frames.ts';
import { deviceId, privateKey, publicKey } from '../keys.ts';

const HEARTBEAT = clientFrame(encodeDeviceMessage({ t: 'beat' }));
const RESULT_DATA = { revision: 'bench' };

/** What a session leaves behind while commands are not settled. */
type Unsettled = Map<string, Uint8Array>;

interface Answer {
  id: string;
  /** Acknowledgement and result, two frames in one piece, and the result alone. */
  both: Uint8Array;
  result: Uint8Array;
}

class PushpointDialect implements Dialect {
  readonly path = '/';
  readonly headers = [`Sec-WebSocket-Protocol: ${SUBPROTOCOL}`];
  heartbeatMs = 60_000;
  readonly #tools: DialectTools;
  readonly #keys = new Map<number, KeyObject>();
  readonly #keepKeys: boolean;
  #lastOrder = new Uint8Array();
  #lastAnswer: Answer | null = null;

  constructor(tools: DialectTools) {
    this.#tools = tools;
    this.#keepKeys = tools.options.keepKeys !== 'no';
  }

  prepare(from: number, to: number): Uint8Array[] {
    const keys: Uint8Array[] = [];
    for (let number = from; number < to; number++) keys.push(publicKey(this.#key(number)));
    return keys;
  }

  opened(): void {
    // The gateway speaks first (H-2).
  }

  message(connection: Connection, payload: Uint8Array): void {
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
    if (this.#lastAnswer && bytes.equals(this.#lastOrder)) {
      this.#run(connection, this.#lastAnswer);
      return;
    }
    const message = decodeGatewayMessage(payload);
    switch (message?.t) {
      case 'challenge':
        this.#prove(connection, message);
        break;
      case 'welcome':
        this.heartbeatMs = message.heartbeatMs;
        connection.ready(performance.now());
        for (const result of (connection.state as Unsettled | undefined)?.values() ?? [])
          connection.send(result);
        break;
      case 'order':
        this.#order(connection, message, payload);
        break;
      case 'settled':
        this.#tools.marks.add('settled', message.id, sharedNow());
        (connection.state as Unsettled | undefined)?.delete(message.id);
        break;
      default:
        this.#tools.counters.add(message?.t ?? 'unknown');
    }
  }

  heartbeat(connection: Connection): void {
    connection.send(HEARTBEAT);
    this.#tools.counters.add('heartbeats');
  }

  #prove(connection: Connection, { nonce, gateway }: Challenge): void {
    const device = deviceId(connection.number);
    const sig = new Uint8Array(sign(null, proofBytes(nonce, gateway, device), this.#key(connection.number)));
    connection.send(
      clientFrame(
        encodeDeviceMessage({ t: 'prove', device, sig, software: 'bench 1', caps: ['sync'], membership: 1 }),
      ),
    );
  }

  #order(connection: Connection, { body }: Order, payload: Uint8Array): void {
    const order = decodeOrderBody(body);
    if (order?.kind !== 'command') {
      this.#tools.counters.add(order?.kind ?? 'unknown');
      return;
    }
    const { id } = order;
    const result = clientFrame(
      encodeDeviceMessage({ t: 'result', id, state: 'succeeded', data: RESULT_DATA }),
    );
    const ack = clientFrame(encodeDeviceMessage({ t: 'ack', id }));
    const answer = { id, both: joined([ack, result]), result };
    if ('group' in order.target) {
      // The same frame comes for the whole group: decoded once.
      this.#lastOrder = payload.slice();
      this.#lastAnswer = answer;
    }
    this.#run(connection, answer);
  }

  #run(connection: Connection, { id, both, result }: Answer): void {
    const unsettled = (connection.state as Unsettled | undefined) ?? new Map<string, Uint8Array>();
    connection.state = unsettled;
    if (unsettled.has(id)) {
      this.#tools.counters.add('repeated');
    } else {
      this.#tools.marks.add('arrived', id, sharedNow());
      unsettled.set(id, result);
    }
    connection.send(both);
  }

  #key(number: number): KeyObject {
    const known = this.#keys.get(number);
    if (known) return known;
    const key = privateKey(number);
    if (this.#keepKeys) this.#keys.set(number, key);
    return key;
  }
}

export default (tools: DialectTools): Dialect => new PushpointDialect(tools);
