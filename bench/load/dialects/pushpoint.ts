/**
 * Our own device at scale (PROTOCOL.md): proves its key, runs commands, keeps results until they are settled,
 * and sends them again after `welcome`. Commands end at once and only send a result, or they take a while and
 * are acknowledged first. It does not check signatures of orders: real devices do that on processors of their
 * own.
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
import { clientFrame } from '../frames.ts';
import { type DeviceKey, deviceId, deviceKey, resultFrame, resultKey } from '../keys.ts';

const HEARTBEAT = clientFrame(encodeDeviceMessage({ t: 'beat' }));
const RESULT_BODY = encodeResultBody({ state: 'succeeded', data: { revision: 'bench' } });

/** By command: its result (`null` while it runs), and when it was last sent. */
type Unsettled = Map<string, { result: Uint8Array | null; saidAt: number }>;
/** a result that is not settled is sent again. */
const SEND_AGAIN_MS = 120_000;
/** How precisely commands take the time that they should. */
const WORK_TICK_MS = 20;

interface Answer {
  id: string;
  /** The acknowledgement as a frame. */
  ack: Uint8Array;
}

/** The end of a command that takes a while. */
interface Work {
  connection: Connection;
  id: string;
  endsAt: number;
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
  #workMs = 0;
  /** In the order in which it ends. */
  #underWay: Work[] = [];
  #workTimer: NodeJS.Timeout | undefined;

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
        sendAgain(connection, 0);
        break;
      case 'order':
        this.#order(connection, message, payload);
        break;
      case 'keep': {
        // Spread from `retryMs` to twice that.
        const { id, retryMs } = message;
        this.#tools.counters.add('keep');
        setTimeout(() => sendAgain(connection, 0, id), retryMs * (1 + Math.random()));
        break;
      }
      case 'settled':
        this.#settled(connection, message.id);
        break;
      case 'beat':
        for (const id of message.settled ?? []) this.#settled(connection, id);
        this.#tools.counters.add('beat');
        break;
      default:
        this.#tools.counters.add(message?.t ?? 'unknown');
    }
  }

  heartbeat(connection: Connection): void {
    connection.send(HEARTBEAT);
    this.#tools.counters.add('heartbeats');
    sendAgain(connection, SEND_AGAIN_MS);
  }

  /** Commands take this long from now on. */
  work(ms: number): void {
    this.#workMs = ms;
  }

  #settled(connection: Connection, id: string): void {
    this.#tools.marks.add('settled', id, sharedNow());
    (connection.state as Unsettled | undefined)?.delete(id);
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
          // It misses nothing, as a device that was here a moment ago.
          gateways: [1, Number.MAX_SAFE_INTEGER],
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
      // The whole group gets the same frame, so it is decoded once.
      this.#lastOrder = payload.slice();
      this.#lastAnswer = answer;
    }
    this.#run(connection, answer);
  }

  #run(connection: Connection, { id, ack }: Answer): void {
    const unsettled: Unsettled = (connection.state as Unsettled | undefined) ?? new Map();
    connection.state = unsettled;
    if (connection.returned) {
      connection.returned = false;
      this.#tools.marks.add('working', '', sharedNow());
    }
    const known = unsettled.get(id);
    if (known) {
      this.#tools.counters.add('repeated');
      connection.send(known.result ?? ack);
      return;
    }
    this.#tools.marks.add('arrived', id, sharedNow());
    unsettled.set(id, { result: null, saidAt: performance.now() });
    if (this.#workMs === 0) {
      this.#end(connection, id);
      return;
    }
    connection.send(ack);
    this.#underWay.push({ connection, id, endsAt: performance.now() + this.#workMs });
    this.#workTimer ??= setInterval(() => this.#endDue(), WORK_TICK_MS);
  }

  #endDue(): void {
    const now = performance.now();
    const left = this.#underWay.findIndex(({ endsAt }) => endsAt > now);
    const due = this.#underWay.splice(0, left < 0 ? this.#underWay.length : left);
    for (const { connection, id } of due) this.#end(connection, id);
    if (this.#underWay.length > 0) return;
    clearInterval(this.#workTimer);
    this.#workTimer = undefined;
  }

  #end(connection: Connection, id: string): void {
    const { number } = connection;
    const entry = (connection.state as Unsettled).get(id);
    if (!entry) return;
    // Of the device's own: no two devices say the same.
    entry.result = clientFrame(resultFrame(number, this.#resultKey(number), id, RESULT_BODY));
    entry.saidAt = performance.now();
    if (connection.phase === 'ready') connection.send(entry.result);
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

/** Results sent longer ago than that, of one command or of all. */
function sendAgain(connection: Connection, olderThanMs: number, only?: string): void {
  const unsettled = connection.state as Unsettled | undefined;
  if (!unsettled || connection.phase !== 'ready') return;
  const now = performance.now();
  for (const [id, entry] of unsettled) {
    if (entry.result === null || (only !== undefined && id !== only)) continue;
    if (now - entry.saidAt < olderThanMs) continue;
    entry.saidAt = now;
    connection.send(entry.result);
  }
}

export default (tools: DialectTools): Dialect => new PushpointDialect(tools);
