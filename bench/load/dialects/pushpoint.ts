/**
 * Our own device at scale (PROTOCOL.md): proves its key, acknowledges commands and reports their results at
 * once, keeps results until they are settled and says them again after `welcome`. It does not check
 * signatures of orders: that work is the device's, and devices have a processor each.
 */
import {
  type Challenge,
  decodeGatewayMessage,
  decodeOrderBody,
  encodeDeviceMessage,
  encodeResultBody,
  type Order,
  proofBytes,
  SUBPROTOCOL,
} from '../../../protocol/index.ts';
import { sharedNow } from '../../measure/clock.ts';
import type { Connection } from '../connection.ts';
import type { Dialect, DialectTools } from '../dialect.ts';
import { clientFrame, joined } from '../frames.ts';
import { type DeviceKey, deviceId, deviceKey, resultFrame, resultKey } from '../keys.ts';

const HEARTBEAT = clientFrame(encodeDeviceMessage({ t: 'beat' }));
const RESULT_BODY = encodeResultBody({ state: 'succeeded', data: { revision: 'bench' } });

/** By command, its result that is not settled, and when it was said last. */
type Unsettled = Map<string, { result: Uint8Array; saidAt: number }>;
/** a result that is not settled is said again. */
const SAY_AGAIN_MS = 60_000;

interface Answer {
  id: string;
  /** The acknowledgement as a frame. */
  ack: Uint8Array;
}

class PushpointDialect implements Dialect {
  readonly path = '/';
  readonly headers = [`Sec-WebSocket-Protocol: ${SUBPROTOCOL}`];
  heartbeatMs = 60_000;
  readonly #tools: DialectTools;
  readonly #keys = new Map<number, DeviceKey>();
  readonly #resultKeys = new Map<number, Uint8Array>();
  readonly #keepKeys: boolean;
  #lastOrder = new Uint8Array();
  #lastAnswer: Answer | null = null;

  constructor(tools: DialectTools) {
    this.#tools = tools;
    this.#keepKeys = tools.options.keepKeys !== 'no';
  }

  prepare(from: number, to: number): Uint8Array[] {
    const keys: Uint8Array[] = [];
    for (let number = from; number < to; number++) keys.push(this.#key(number).publicKey);
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
        sayAgain(connection, 0);
        break;
      case 'order':
        this.#order(connection, message, payload);
        break;
      case 'keep': {
        // Distributed from `retryMs` to twice that.
        const { id, retryMs } = message;
        this.#tools.counters.add('keep');
        setTimeout(() => sayAgain(connection, 0, id), retryMs * (1 + Math.random()));
        break;
      }
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
    sayAgain(connection, SAY_AGAIN_MS);
  }

  #prove(connection: Connection, { nonce, gateway }: Challenge): void {
    const device = deviceId(connection.number);
    const sig = this.#key(connection.number).sign(proofBytes(nonce, gateway, device));
    connection.send(
      clientFrame(
        encodeDeviceMessage({
          t: 'prove',
          device,
          sig,
          software: 'bench 1',
          caps: ['sync'],
          membership: [1, 1],
          keys: [1, 1],
        }),
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
    const answer = { id, ack: clientFrame(encodeDeviceMessage({ t: 'ack', id })) };
    if ('group' in order.target) {
      // The same frame comes for the whole group: decoded once.
      this.#lastOrder = payload.slice();
      this.#lastAnswer = answer;
    }
    this.#run(connection, answer);
  }

  #run(connection: Connection, { id, ack }: Answer): void {
    const { number } = connection;
    // Of the device's own: no two devices say the same.
    const result = clientFrame(resultFrame(number, this.#resultKey(number), id, RESULT_BODY));
    const unsettled: Unsettled = (connection.state as Unsettled | undefined) ?? new Map();
    connection.state = unsettled;
    if (connection.returned) {
      connection.returned = false;
      this.#tools.marks.add('working', '', sharedNow());
    }
    if (unsettled.has(id)) {
      this.#tools.counters.add('repeated');
    } else {
      this.#tools.marks.add('arrived', id, sharedNow());
      unsettled.set(id, { result, saidAt: performance.now() });
    }
    connection.send(joined([ack, result]));
  }

  #resultKey(number: number): Uint8Array {
    const key = this.#resultKeys.get(number) ?? resultKey(number);
    if (this.#keepKeys) this.#resultKeys.set(number, key);
    return key;
  }

  #key(number: number): DeviceKey {
    const known = this.#keys.get(number);
    if (known) return known;
    const key = deviceKey(number);
    if (this.#keepKeys) this.#keys.set(number, key);
    return key;
  }
}

/** Results said longer ago than that, of one command or of all. */
function sayAgain(connection: Connection, olderThanMs: number, only?: string): void {
  const unsettled = connection.state as Unsettled | undefined;
  if (!unsettled || connection.phase !== 'ready') return;
  const now = performance.now();
  for (const [id, entry] of unsettled) {
    if (now - entry.saidAt < olderThanMs || (only !== undefined && id !== only)) continue;
    entry.saidAt = now;
    connection.send(entry.result);
  }
}

export default (tools: DialectTools): Dialect => new PushpointDialect(tools);
