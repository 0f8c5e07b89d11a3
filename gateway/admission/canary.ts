/**
 * The worker's canary: a device inside its process that takes the path of every device except for the
 * network. It proves its identity with a key made at start, which administration servers put into the
 * directory. It has a session and a presence, receives a no-op through the outbox now and then, and answers
 * it. The outcome shows whether the path to this worker and back works.
 */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { Logger } from 'pino';
import type { Directory } from '../../bus/bus.ts';
import { canaryOf } from '../../bus/canary.ts';
import type { Dependency } from '../../health/health.ts';
import {
  CLOSE,
  type DeviceMessage,
  decodeGatewayMessage,
  decodeOrderBody,
  encodeDeviceMessage,
  encodeResultBody,
  type GatewayMessage,
  LIMITS,
  NO_EDITION,
  type Order,
  proofBytes,
} from '../../protocol/index.ts';
import type { Connection, DeviceSocket } from '../sessions/session.ts';

const RETRY_MS = 1_000;
/** Failed attempts after registration that mean that admission is broken. */
const ATTEMPTS = 20;
/** Unconfirmed no-ops in a row, over this time, that mean that reports of devices do not arrive. */
const UNCONFIRMED = 3;
const UNCONFIRMED_MS = 60_000;

/** A canary is no device of the ledger and has no secret: what it reports ends nothing. */
const NO_MAC = new Uint8Array(LIMITS.macBytes);

export interface CanaryParts {
  worker: string;
  gateway: string;
  directory: Directory;
  heartbeatMs: number;
  /** Hands over a new connection and sends its challenge. */
  open(socket: DeviceSocket): Connection;
  receive(connection: Connection, bytes: Uint8Array): void;
  close(connection: Connection, code: number, reason: string): void;
  health: Dependency;
  log: Logger;
}

export class Canary {
  readonly device: string;
  /** Raw Ed25519 public key. */
  readonly publicKey: Uint8Array;
  readonly #key: KeyObject;
  readonly #parts: CanaryParts;
  #connection: Connection | null = null;
  #attempts = 0;
  #unconfirmed = 0;
  /** When the first of them came, by the monotonic clock. */
  #unconfirmedSince = 0;
  /** Round trips that were confirmed. */
  #confirmed = 0;
  #timer: NodeJS.Timeout | null = null;
  #beats: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(parts: CanaryParts) {
    this.#parts = parts;
    this.device = canaryOf(parts.worker);
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    this.#key = privateKey;
    this.publicKey = Buffer.from(publicKey.export({ format: 'jwk' }).x as string, 'base64url');
    parts.health.good();
  }

  /** No-ops whose outcome the ledger confirmed. */
  get confirmed(): number {
    return this.#confirmed;
  }

  start(): void {
    this.#again(0);
  }

  /** Idempotent. */
  stop(): void {
    this.#stopped = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    const connection = this.#connection;
    if (connection) this.#parts.close(connection, CLOSE.draining, 'the gateway stops');
  }

  #again(inMs: number): void {
    if (this.#stopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      void this.#connect();
    }, inMs);
  }

  async #connect(): Promise<void> {
    const { directory, log, health } = this.#parts;
    try {
      const [registered] = await directory.devices([this.device]);
      // No administration server has seen this process yet, or canaries are disabled there.
      if (!registered || Buffer.compare(registered.publicKey, this.publicKey) !== 0)
        return this.#again(RETRY_MS);
    } catch (error) {
      // The directory has its own dependency in the health report.
      log.debug({ err: error }, 'the canary waits for the directory');
      return this.#again(RETRY_MS);
    }
    if (this.#stopped) return;
    if (++this.#attempts === ATTEMPTS) health.bad("the worker's own canary is not admitted");
    this.#connection = this.#parts.open(this.#socket());
  }

  /** Stands in for a WebSocket: receives the worker's frames and its close. */
  #socket(): DeviceSocket {
    return {
      send: (frame) => {
        // The frame is valid only during the call, and callers do not expect an answer inside it.
        const copy = frame.slice();
        setImmediate(() => this.#hear(copy));
        return 1;
      },
      end: (code, reason) => this.#ended(code, reason),
      close: () => this.#ended(CLOSE.backpressure, ''),
      cork: (run) => run(),
      ping: () => 1,
      getBufferedAmount: () => 0,
      getRemoteAddress: () => new ArrayBuffer(0),
    };
  }

  #ended(code: number, reason: string): void {
    this.#connection = null;
    if (this.#beats) clearInterval(this.#beats);
    this.#beats = null;
    this.#parts.log.debug({ code, reason }, 'canary disconnected');
    this.#again(RETRY_MS);
  }

  #say(message: DeviceMessage): void {
    if (this.#connection) this.#parts.receive(this.#connection, encodeDeviceMessage(message));
  }

  #hear(frame: Uint8Array): void {
    if (this.#stopped || !this.#connection) return;
    const message = decodeGatewayMessage(frame);
    if (message) this.#take(message);
  }

  #take(message: GatewayMessage): void {
    const { gateway, heartbeatMs, health } = this.#parts;
    switch (message.t) {
      case 'challenge': {
        const sig = sign(null, proofBytes(message.nonce, gateway, this.device), this.#key);
        this.#say({
          t: 'prove',
          device: this.device,
          sig,
          software: 'canary',
          caps: [],
          membership: NO_EDITION,
          keys: NO_EDITION,
          gateways: NO_EDITION,
        });
        return;
      }
      case 'welcome':
        this.#attempts = 0;
        if (this.#unconfirmed === 0) health.good();
        this.#beats ??= setInterval(() => this.#say({ t: 'beat' }), heartbeatMs);
        return;
      case 'order':
        this.#order(message);
        return;
      case 'settled':
        this.#confirmed++;
        this.#unconfirmed = 0;
        health.good();
    }
  }

  #order({ body }: Order): void {
    const order = decodeOrderBody(body);
    if (order?.kind !== 'command') return;
    const now = performance.now();
    if (this.#unconfirmed++ === 0) this.#unconfirmedSince = now;
    if (this.#unconfirmed > UNCONFIRMED && now - this.#unconfirmedSince > UNCONFIRMED_MS) {
      this.#parts.health.bad('reports of devices do not reach the ledger: the canary is not confirmed');
    }
    const echo = encodeResultBody({ state: 'succeeded', data: order.args });
    this.#say({ t: 'result', id: order.id, body: echo, mac: NO_MAC });
  }
}
