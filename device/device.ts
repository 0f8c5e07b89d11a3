/**
 * A device: keeps one session with the gateways it was given, obeys the orders of its administration server, and sees to
 * it that the end of every execution gets on record.
 */
import type { ArgsOf, CommandType } from '../protocol/command-types.ts';
import {
  CLOSE,
  type GatewayAddress,
  type GatewayMessage,
  type Order,
  type Welcome,
} from '../protocol/index.ts';
import { Connection, type ConnectionEnd } from './connection.ts';
import type { DeviceCrypto } from './crypto.ts';
import type { DeviceEvents, SessionInfo } from './device-events.ts';
import { EXECUTION_DEFAULTS, type ExecutionLimits, Executions } from './executions.ts';
import { GatewayChoice } from './gateway-choice.ts';
import { type Handler, type HandlerOptions, Handlers } from './handlers.ts';
import { type DeviceStatus, Heartbeat } from './heartbeat.ts';
import { type DeviceLog, silent } from './log.ts';
import { Orders } from './orders.ts';
import { Reconnect, type ReconnectOptions } from './reconnect.ts';
import { ServerClock } from './server-clock.ts';
import type { Dial } from './socket.ts';
import type { DeviceState, DeviceStore } from './store.ts';
import { TypedEvents } from './typed-events.ts';
import { Words, type WordsOptions } from './words.ts';

export interface DeviceOptions {
  /** Holds the identity (see `enroll`) and everything else that outlives the program. The caller closes it. */
  store: DeviceStore;
  crypto: DeviceCrypto;
  dial: Dial;
  /** Name and version of the program, at most 64 characters; for people. */
  software?: string;
  log?: DeviceLog;
  limits?: Partial<ExecutionLimits>;
  reconnect?: Partial<ReconnectOptions>;
  pace?: Partial<WordsOptions>;
  /** H-8, milliseconds; default 20 s. */
  handshakeTimeoutMs?: number;
  /** From 0 up to 1, for jitter. */
  random?: () => number;
}

/** Orders that wait to be verified; more are dropped, and the server sends them again. */
const INBOX_MAX = 2_000;
/** Close codes that say this gateway is not the one to return to. */
const LEAVE = new Set<number>([
  CLOSE.draining,
  CLOSE.redirected,
  CLOSE.outOfScope,
  CLOSE.overloaded,
  CLOSE.notReady,
]);

/** What there is between `start` and `stop`. */
interface Running {
  state: DeviceState & Required<Pick<DeviceState, 'key' | 'identity'>>;
  clock: ServerClock;
  orders: Orders;
  executions: Executions;
  gateways: GatewayChoice;
}

export class PushpointDevice {
  readonly #options: DeviceOptions;
  readonly #log: DeviceLog;
  readonly #random: () => number;
  readonly #handlers = new Handlers();
  readonly #events: TypedEvents<DeviceEvents>;
  readonly #reconnect: Reconnect;
  readonly #heartbeat: Heartbeat;
  #running: Running | null = null;
  #starting: Promise<void> | null = null;
  #connection: Connection | null = null;
  #session: SessionInfo | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #inbox: Promise<void> = Promise.resolve();
  #inboxSize = 0;
  #saving: Promise<void> = Promise.resolve();

  constructor(options: DeviceOptions) {
    this.#options = options;
    this.#log = options.log ?? silent;
    this.#random = options.random ?? Math.random;
    this.#events = new TypedEvents((error) => this.#fault(error));
    this.#reconnect = new Reconnect(options.reconnect, this.#random);
    this.#heartbeat = new Heartbeat(
      (beat) => this.#connection?.send(beat),
      () => {
        this.#running?.gateways.rotate();
        this.#connection?.giveUp('B-3: heartbeats not answered');
      },
    );
  }

  /** The device's id, once started. */
  get deviceId(): string | undefined {
    return this.#running?.state.identity.deviceId;
  }

  /** The open session, if there is one. */
  get session(): SessionInfo | null {
    return this.#session;
  }

  get gateways(): readonly GatewayAddress[] {
    return this.#running?.gateways.list ?? [];
  }

  counts(): ReturnType<Executions['counts']> {
    return this.#running?.executions.counts() ?? { waiting: 0, running: 0, unsettled: 0, remembered: 0 };
  }

  on<Name extends keyof DeviceEvents>(name: Name, listener: (event: DeviceEvents[Name]) => void): () => void {
    return this.#events.on(name, listener);
  }

  /** Says how commands of a type are run; before `start`, which tells the gateway and recovers what was running. */
  handle<T extends CommandType>(type: T, handler: Handler<ArgsOf<T>>, options?: HandlerOptions): this;
  handle(type: string, handler: Handler, options?: HandlerOptions): this;
  handle(type: string, handler: Handler<never>, options?: HandlerOptions): this {
    this.#handlers.add(type, handler as Handler, options);
    return this;
  }

  /** What heartbeats say from now on (B-1); a change is said within a second. */
  setStatus(status: DeviceStatus): void {
    this.#heartbeat.status(status);
  }

  /** Resolves when the store is read and the first connection is being made. Throws when the device is not enrolled. */
  start(): Promise<void> {
    this.#starting ??= this.#start().catch((error) => {
      this.#starting = null;
      throw error;
    });
    return this.#starting;
  }

  /** Connects at once if there is no connection: after a `never`, or when the program knows that the network is back. */
  connectNow(): void {
    if (!this.#running || this.#connection) return;
    this.#reconnect.reset();
    this.#dial();
  }

  /** A list of gateways from elsewhere than a gateway, for example from enrolling again (E-7). */
  setGateways(list: GatewayAddress[]): void {
    this.#newGateways(list);
    if (!this.#timer) this.connectNow();
  }

  /**
   * Handlers are asked to stop and may report until the deadline (default 5 s); then the connection closes. What they
   * did not report is `interrupted` at the next start. `abrupt`: as if the program had been killed.
   */
  async stop({ deadlineMs = 5_000, abrupt = false } = {}): Promise<void> {
    await this.#starting?.catch(() => undefined);
    const running = this.#running;
    if (!running) return;
    if (abrupt) running.executions.kill();
    else await running.executions.stop(deadlineMs);
    this.#running = null;
    this.#starting = null;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const connection = this.#connection;
    if (abrupt) connection?.giveUp('killed');
    else connection?.close('stopped');
    await this.#saving;
  }

  async #start(): Promise<void> {
    const { store, crypto, limits, pace } = this.#options;
    const stored = await store.load();
    const { key, identity } = stored.state;
    if (!key || !identity) throw new Error('this device is not enrolled');
    const clock = new ServerClock(stored.marks.issuedAt);
    const orders = new Orders(identity, crypto, clock);
    if (stored.state.membership) await orders.judge(stored.state.membership);
    const executions = new Executions(stored, {
      store,
      clock,
      handlers: this.#handlers,
      words: (newest) => new Words(newest, pace),
      limits: { ...EXECUTION_DEFAULTS, ...limits },
      events: {
        started: (id, type) => this.#events.emit('execution-started', { id, type }),
        finished: (id, type, outcome) => this.#events.emit('execution-finished', { id, type, ...outcome }),
        settled: (id, state) => this.#events.emit('execution-settled', { id, state }),
        fault: (error) => this.#fault(error),
      },
    });
    await executions.recover();
    const gateways = new GatewayChoice(stored.state.gateways);
    this.#running = { state: { ...stored.state, key, identity }, clock, orders, executions, gateways };
    this.#reconnect.reset();
    this.#dial();
  }

  /* ---- connecting ---- */

  #dial(): void {
    const running = this.#running;
    if (!running || this.#connection) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const address = running.gateways.current();
    if (!address) {
      this.#fault(new Error('no gateway is known: enrol again for a current list (E-7)'));
      return;
    }
    const { dial, crypto, software = 'pushpoint-device', handshakeTimeoutMs = 20_000 } = this.#options;
    const credentials = {
      deviceId: running.state.identity.deviceId,
      privateKey: running.state.key.privateKey,
      software: software.slice(0, 64),
      caps: this.#handlers.types.slice(0, 32),
      membership: running.orders.membership?.revision ?? 0,
    };
    try {
      this.#connection = new Connection(
        address,
        { dial, crypto, credentials, handshakeTimeoutMs },
        {
          welcome: (message) => this.#welcome(running, message),
          message: (message) => this.#message(running, message),
          ended: (end) => this.#ended(running, address, end),
        },
      );
    } catch (error) {
      // A url that cannot be dialed at all.
      this.#fault(error);
      this.#ended(running, address, { code: 1006, reason: String(error), after: 'dialing', sessionMs: 0 });
    }
  }

  #welcome(running: Running, message: Welcome): void {
    const connection = this.#connection;
    if (!connection) return;
    const { executions, clock, gateways } = running;
    clock.told(message.time);
    this.#newGateways(message.gateways);
    gateways.arrived(connection.address);
    this.#session = { gateway: connection.address, session: message.session, since: Date.now() };
    this.#heartbeat.start(message.heartbeatMs, this.#random);
    executions.words.attach(connection, executions.unsettled());
    executions.resume();
    void executions.sweep();
    this.#events.emit('connected', this.#session);
  }

  #ended(running: Running, address: GatewayAddress, end: ConnectionEnd): void {
    this.#connection = null;
    this.#session = null;
    this.#heartbeat.stop();
    running.executions.words.detach();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { code, reason, retryAfterMs, sessionMs } = end;
    if (this.#running !== running) {
      this.#events.emit('disconnected', { gateway: address, code, reason, advice: 'never', retryInMs: null });
      return;
    }
    const { gateways } = running;
    const moving = gateways.redirected && gateways.current() !== address;
    if (!moving && (end.after !== 'session' || LEAVE.has(code))) gateways.rotate();
    const next = this.#reconnect.next({
      // Asked to go elsewhere, the device goes at once, whatever it closed with itself (G-3).
      code: moving && code === 1000 ? CLOSE.redirected : code,
      retryAfterMs,
      sessionMs,
    });
    if (next.inMs !== null) this.#timer = setTimeout(() => this.#dial(), next.inMs);
    this.#events.emit('disconnected', {
      gateway: address,
      code,
      reason,
      advice: next.advice,
      retryInMs: next.inMs,
    });
  }

  /* ---- what gateways say ---- */

  #message(running: Running, message: Exclude<GatewayMessage, { t: 'welcome' | 'challenge' }>): void {
    switch (message.t) {
      case 'beat':
        this.#heartbeat.answered();
        running.clock.told(message.time);
        void running.executions.sweep();
        return;
      case 'order':
        this.#enqueue(() => this.#order(running, message));
        return;
      case 'settled':
        this.#enqueue(() => running.executions.settled(message.id, message.state));
        return;
      case 'update':
        this.#newGateways(message.gateways);
        return;
      case 'redirect':
        this.#redirect(running, message.to, message.withinMs);
        return;
    }
  }

  /** Messages take effect in the order they came, although verifying them takes time. */
  #enqueue(step: () => Promise<void>): void {
    if (this.#inboxSize >= INBOX_MAX) {
      this.#fault(new Error('more orders than can be verified: some were dropped and will come again'));
      return;
    }
    this.#inboxSize++;
    this.#inbox = this.#inbox
      .then(step)
      .catch((error) => this.#fault(error))
      .finally(() => {
        this.#inboxSize--;
      });
  }

  async #order(running: Running, order: Order): Promise<void> {
    const { orders, executions, clock, state } = running;
    const verdict = await orders.judge(order);
    if (verdict.as === 'skipped') return;
    if (verdict.as === 'refused') {
      const { reason, id } = verdict;
      this.#events.emit('order-refused', id === undefined ? { reason } : { reason, id });
      executions.witnessed(clock.newestIssuedAt);
      return;
    }
    const { body } = verdict;
    if (body.kind === 'membership') {
      state.membership = { body: order.body, sig: order.sig };
      this.#save(running);
      executions.witnessed(body.issuedAt);
      this.#events.emit('membership', { groups: body.groups, revision: body.revision });
    } else if (body.kind === 'command') {
      // Not awaited: several commands share one sync to the disk. Their effects stay in order.
      void executions.command(body, verdict.as === 'expired').catch((error) => this.#fault(error));
      if (verdict.as === 'expired') executions.witnessed(body.issuedAt);
    } else {
      if (verdict.as === 'expired') this.#events.emit('order-refused', { reason: 'expired', id: body.id });
      else void executions.cancel(body).catch((error) => this.#fault(error));
      executions.witnessed(body.issuedAt);
    }
  }

  #newGateways(list: GatewayAddress[]): void {
    const running = this.#running;
    if (!running?.gateways.replace(list)) return;
    running.state.gateways = [...running.gateways.list];
    this.#save(running);
    this.#events.emit('gateways', running.state.gateways);
  }

  /** G-3: at a random moment of the time allowed, so that those who were told together do not arrive together. */
  #redirect(running: Running, to: GatewayAddress[], withinMs: number): void {
    const connection = this.#connection;
    if (!connection) return;
    running.gateways.redirect(to, connection.address.url);
    if (!running.gateways.redirected) running.gateways.rotate();
    if (!connection.open) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => connection.close('redirected'), this.#random() * withinMs);
  }

  #save(running: Running): void {
    const state = { ...running.state };
    this.#saving = this.#saving
      .then(() => this.#options.store.saveState(state))
      .catch((error) => this.#fault(error));
  }

  #fault(error: unknown): void {
    const fault = error instanceof Error ? error : new Error(String(error));
    this.#log.error({ err: fault, deviceId: this.deviceId }, 'fault in the device');
    const told = this.#events.emit('fault', fault);
    // Where the program neither listens nor logs, it is still not swallowed.
    if (!told && !this.#options.log) console.error('pushpoint device:', fault);
  }
}
