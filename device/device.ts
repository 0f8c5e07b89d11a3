/**
 * A device: keeps one session with its gateways, obeys the orders of its administration server, and reports
 * the outcome of every execution until it is stored.
 */
import type { CommandArgs, CommandType } from '../protocol/command-args.ts';
import {
  type Authenticated,
  DEVICE_CLOSE,
  type GatewayAddress,
  LIMITS,
  type MembershipOrder,
  type SignedPass,
  type SignedServerKeys,
  type StatusBody,
  sameBytes,
  type Welcome,
} from '../protocol/index.ts';
import type { Connection } from './connection/connection.ts';
import { Inbox } from './connection/inbox.ts';
import type { ReconnectOptions } from './connection/reconnect.ts';
import type { DeviceStatus, MakeStatusReports, StatusReports } from './connection/status.ts';
import { type KeptGateways, Uplink } from './connection/uplink.ts';
import type { DeviceEvents, SessionInfo } from './device-events.ts';
import { ResultAuthenticator } from './executions/authenticated-link.ts';
import { DeviceKeys } from './executions/device-keys.ts';
import { EXECUTION_DEFAULTS, type ExecutionLimits, Executions } from './executions/executions.ts';
import { GroupKeys } from './executions/group-keys.ts';
import { type Handler, type HandlerOptions, Handlers } from './executions/handlers.ts';
import { Orders } from './executions/orders.ts';
import { ReportQueue, type ReportQueueOptions } from './executions/report-queue.ts';
import { ServerClock } from './executions/server-clock.ts';
import { locate } from './gateways/locate.ts';
import type { MakeNearness } from './gateways/nearness.ts';
import type { NetworkWatch } from './gateways/network-watch.ts';
import { GatewayPasses } from './gateways/passes.ts';
import { TrustedKeys } from './keys/trusted-keys.ts';
import { type DeviceLog, silent } from './log.ts';
import type { ApiError, Fetch } from './platform/api-request.ts';
import { toBase64url } from './platform/base64url.ts';
import { clip } from './platform/clip.ts';
import type { DeviceCrypto, DeviceKey } from './platform/crypto.ts';
import type { Dial } from './platform/socket.ts';
import type { KeyRotation } from './rotate-key.ts';
import type { DeviceState, DeviceStore } from './storage/store.ts';
import type { DeviceTunnels, MakeTunnels } from './tunnels/tunnels.ts';
import { TypedEvents } from './typed-events.ts';

export interface DeviceOptions {
  /**
   * Holds the identity (see `enroll`) and everything else that outlives the program. The caller closes the
   * store.
   */
  store: DeviceStore;
  crypto: DeviceCrypto;
  dial: Dial;
  /** Name and version of the program, at most 64 characters; for people. */
  software?: string;
  /** The device's name for people, if it has changed since enrolment (E-5); at most 128 characters. */
  name?: string;
  log?: DeviceLog;
  limits?: Partial<ExecutionLimits>;
  reconnect?: Partial<ReconnectOptions>;
  pace?: Partial<ReportQueueOptions>;
  /** H-8, milliseconds; default 20 s. */
  handshakeTimeoutMs?: number;
  /**
   * Measures how far gateways are and goes to a near one (G-10). Without it the device uses the list in its
   * order, and a bundler leaves the code out: import `nearness` to include it.
   */
  nearness?: MakeNearness | undefined;
  /**
   * Replaces its key (K-6). Without it `rotateKey` throws, and a bundler leaves the code out: import
   * `keyRotation` to have it.
   */
  keyRotation?: KeyRotation | undefined;
  /**
   * Tells its status (B-5). Without it `setStatus` throws, and a bundler leaves the code out: import
   * `statusReports` to have it.
   */
  statusReports?: MakeStatusReports | undefined;
  /**
   * Base URL of the administration server's API, to ask where to go (G-16); the one it enrolled at when
   * absent.
   */
  server?: string;
  /** Makes requests to the administration server; the platform's when absent. */
  fetch?: Fetch;
  /** Reports changes of the network (G-14); a program that knows better calls `networkChanged` itself. */
  watchNetwork?: NetworkWatch;
  /**
   * Lets operators open tunnels to what it allows, and nothing else. Without it `tunnel.open` is
   * `unsupported`, and a bundler leaves the code out: import `tcpTunnels` or `webTunnels` to include it.
   */
  tunnels?: MakeTunnels;
  /** From 0 up to 1, for jitter. */
  random?: () => number;
}

/** The parts that exist between `start` and `stop`. */
interface Running {
  state: DeviceState & Required<Pick<DeviceState, 'key' | 'identity'>>;
  clock: ServerClock;
  trusted: TrustedKeys;
  orders: Orders;
  executions: Executions;
  inbox: Inbox;
  authenticator: ResultAuthenticator;
  keys: DeviceKeys;
  passes: GatewayPasses;
}

export class PushpointDevice {
  readonly #options: DeviceOptions;
  readonly #log: DeviceLog;
  readonly #handlers = new Handlers();
  readonly #events: TypedEvents<DeviceEvents>;
  readonly #uplink: Uplink;
  readonly #tunnels: DeviceTunnels | null;
  readonly #status: StatusReports | undefined;
  #running: Running | null = null;
  #starting: Promise<void> | null = null;
  #session: SessionInfo | null = null;
  /** H-9: another program with the same key ended the last session, and no gateway was told. */
  #displaced = false;
  /** K-6: the device proves the requested key. */
  #provesNext = false;
  #unwatchNetwork: (() => void) | undefined;
  #rotating: Promise<void> | null = null;
  #saving: Promise<void> = Promise.resolve();

  constructor(options: DeviceOptions) {
    this.#options = options;
    this.#log = options.log ?? silent;
    this.#events = new TypedEvents((error) => this.#fault(error));
    const { dial, crypto, nearness, reconnect = {}, random = Math.random } = options;
    this.#uplink = new Uplink(
      {
        dial,
        crypto,
        handshakeTimeoutMs: options.handshakeTimeoutMs ?? 20_000,
        reconnect,
        nearness,
        random,
      },
      {
        credentials: () => this.#credentials(),
        opened: (connection, message) => this.#opened(connection, message),
        message: (message, open) => this.#running?.inbox.take(message, open),
        ended: (how) => this.#ended(how),
        vouched: (gateway, pass) => this.#vouched(gateway, pass),
        locate: (signal) => this.#locate(signal),
        signedList: () => this.#running?.orders.list?.gateways ?? null,
        caughtUp: async () => this.#running?.inbox.caughtUp(),
        changed: (kept, list) => this.#keep(kept, list),
        fault: (error) => this.#fault(error),
      },
    );
    this.#tunnels = this.#makeTunnels(options.tunnels);
    this.#status = options.statusReports?.();
    this.#answerIdentify();
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
    return this.#running ? this.#uplink.list : [];
  }

  /** Tunnels open now. */
  get tunnels(): number {
    return this.#tunnels?.size ?? 0;
  }

  counts(): ReturnType<Executions['counts']> {
    return this.#running?.executions.counts() ?? { waiting: 0, running: 0, unsettled: 0, remembered: 0 };
  }

  on<Name extends keyof DeviceEvents>(name: Name, listener: (event: DeviceEvents[Name]) => void): () => void {
    return this.#events.on(name, listener);
  }

  /**
   * Registers the handler of a command type. Call it before `start`, which reports the types to the gateway
   * and recovers interrupted executions.
   */
  handle<T extends CommandType>(type: T, handler: Handler<CommandArgs[T]>, options?: HandlerOptions): this;
  handle(type: string, handler: Handler, options?: HandlerOptions): this;
  handle(type: string, handler: Handler<never>, options?: HandlerOptions): this {
    this.#handlers.add(type, handler as Handler, options);
    return this;
  }

  /**
   * Sets what the device says of itself (B-5), also at later starts; what is left out stays as it is. A
   * change is sent within a second. Throws `TypeError` for an invalid status.
   */
  setStatus(status: DeviceStatus): void {
    if (!this.#status) throw new Error('this device has no statusReports');
    this.#status.set(status);
    this.#tellStatus();
  }

  #tellStatus(): void {
    const running = this.#running;
    if (!running) return;
    const save = (status?: StatusBody) => (status ? this.#saved({ status }) : this.#saving);
    const send = (told: Authenticated) => this.#uplink.status(told);
    this.#status?.tell({ ...running, save, send }).catch((error) => this.#fault(error));
  }

  /**
   * Resolves when the store is read and the first connection is being made. Throws when the device is not
   * enrolled.
   */
  start(): Promise<void> {
    this.#starting ??= this.#start().catch((error) => {
      this.#starting = null;
      throw error;
    });
    return this.#starting;
  }

  /**
   * Connects at once if there is no connection: when the program knows that a gateway is back, or that the
   * device was unblocked. A device that was deleted or moved does not connect.
   */
  connectNow(): void {
    this.#uplink.connectNow();
  }

  /** The device's network changed, or is back: it chooses a gateway again (G-14). */
  networkChanged(): void {
    this.#uplink.networkChanged();
  }

  /**
   * Gives the device another key (K-6). Resolves when the server has accepted it; throws `ApiError`. After an
   * error either key may be valid: the device proves whichever is, and a repeated call continues. A call
   * during another one joins it.
   */
  rotateKey(): Promise<void> {
    this.#rotating ??= this.#rotateKey().finally(() => {
      this.#rotating = null;
    });
    return this.#rotating;
  }

  async #rotateKey(): Promise<void> {
    const running = this.#ready;
    const { keyRotation, server, crypto, fetch } = this.#options;
    if (!keyRotation) throw new Error('this device has no keyRotation');
    const save = async (news: Partial<DeviceState>) => {
      if (this.#running !== running) throw new Error('stopped');
      await this.#saved(news);
    };
    await keyRotation({ ...running, save, server, crypto, fetch });
    await this.#saving;
  }

  /**
   * Asks handlers to stop and lets them report until the deadline (default 5 s); then closes the connection.
   * What they did not report is `interrupted` at the next start. `abrupt`: as if the program had been killed.
   */
  async stop({ deadlineMs = 5_000, abrupt = false } = {}): Promise<void> {
    await this.#starting?.catch(() => undefined);
    const running = this.#running;
    if (!running) return;
    this.#unwatchNetwork?.();
    this.#unwatchNetwork = undefined;
    this.#tunnels?.stop(abrupt);
    if (abrupt) running.executions.kill();
    else await running.executions.stop(deadlineMs);
    this.#uplink.stop(abrupt);
    this.#running = null;
    this.#starting = null;
    await this.#saving;
  }

  /** H-12 */
  #answerIdentify(): void {
    const run = toBase64url(globalThis.crypto.getRandomValues(new Uint8Array(16)));
    const began = performance.now();
    const answer = () => ({
      run,
      upMs: Math.floor(performance.now() - began),
      gateway: this.#session?.gateway.name ?? '',
    });
    this.handle('identify', answer, { unlimited: true });
  }

  #makeTunnels(make: MakeTunnels | undefined): DeviceTunnels | null {
    if (!make) return null;
    const tunnels = make({
      opened: (news) => this.#events.emit('tunnel-opened', news),
      ended: (news) => this.#events.emit('tunnel-ended', news),
      refused: (news) => this.#events.emit('stream-refused', news),
    });
    // The operator at the other end of a tunnel waits for seconds, not for a free slot.
    this.handle('tunnel.open', (command) => tunnels.open(command, this.#ready.keys), { unlimited: true });
    this.handle('tunnel.close', (command) => tunnels.close(command), { unlimited: true });
    return tunnels;
  }

  get #ready(): Running {
    if (!this.#running) throw new Error('not started');
    return this.#running;
  }

  async #start(): Promise<void> {
    const { store, crypto, limits, pace, watchNetwork, random = Math.random } = this.#options;
    const stored = await store.load();
    const { key, identity, keys: serverKeys } = stored.state;
    if (!key || !identity || !serverKeys) throw new Error('this device is not enrolled');
    const clock = new ServerClock(stored.marks.issuedAt);
    const { deviceId } = identity;
    const trusted = new TrustedKeys(serverKeys, crypto);
    const orders = new Orders({ deviceId, publicKeys: () => this.#publicKeys(stored.state), trusted, clock });
    const { membership, list } = stored.state;
    for (const order of [membership, list]) if (order) orders.hold(order);
    const fault = (error: unknown) => this.#fault(error);
    const keys = new DeviceKeys(identity, crypto);
    const held = stored.state.groupKeys ?? [];
    const executions = new Executions(stored, {
      store,
      clock,
      keys,
      groupKeys: (hooks) =>
        new GroupKeys({ ...hooks, held, keys, random, keep: (groupKeys) => this.#save({ groupKeys }) }),
      handlers: this.#handlers,
      reportQueue: (newest) => new ReportQueue(newest, pace, random),
      limits: { ...EXECUTION_DEFAULTS, ...limits },
      events: {
        started: (id, type) => this.#events.emit('execution-started', { id, type }),
        finished: (id, type, outcome) => this.#events.emit('execution-finished', { id, type, ...outcome }),
        settled: (id, state) => this.#events.emit('execution-settled', { id, state }),
        fault,
      },
    });
    await executions.recover();
    const inbox = new Inbox({
      orders,
      executions,
      clock,
      trusted,
      keys: (keys) => this.#save({ keys }),
      membership: (membership, body) => {
        this.#save({ membership, ...this.#confirmed(body) });
        const { state, groups, epoch, revision } = body;
        this.#events.emit('membership', { state, groups, epoch, revision });
        this.#stand(body);
      },
      list: (list, body) => {
        this.#save({ list });
        this.#uplink.signedListCame(body.gateways);
      },
      refused: (event) => this.#events.emit('order-refused', event),
      fault,
    });
    const authenticator = new ResultAuthenticator(keys);
    const passes = new GatewayPasses({ verify: (bytes, sig) => trusted.verify(bytes, sig), clock });
    const state = { ...stored.state, key, identity };
    this.#running = { state, clock, trusted, orders, executions, inbox, authenticator, keys, passes };
    this.#stand(orders.membership);
    this.#uplink.start(stored.state);
    this.#unwatchNetwork = watchNetwork?.(() => this.networkChanged());
  }

  /** S-9 */
  async #vouched(gateway: string, pass: SignedPass | undefined): Promise<number> {
    if (!this.#running) return 0;
    // Its signing key may have arrived just before it.
    await this.#running.inbox.caughtUp();
    const goodMs = (await this.#running?.passes.judge(gateway, pass)) ?? 0;
    this.#running?.executions.witnessed();
    return goodMs;
  }

  /** S-8 */
  #stand(membership: MembershipOrder | null): void {
    const { state = 'active', to } = membership ?? {};
    const gone = state === 'deleted' || state === 'moved';
    this.#uplink.stand(gone ? 'gone' : state);
    if (gone) this.#events.emit('left', { state, ...(to && { to }) });
  }

  #credentials() {
    const { state, orders, trusted } = this.#ready;
    return {
      deviceId: state.identity.deviceId,
      privateKey: this.#keysToProve(state)[0].privateKey,
      software: clip(this.#options.software ?? 'pushpoint-device', LIMITS.softwareLength),
      caps: this.#handlers.types.slice(0, 32),
      installation: state.identity.installation,
      membership: orders.edition,
      keys: trusted.edition,
      gateways: orders.listEdition,
      name: this.#newName(),
      displaced: this.#displaced || undefined,
    };
  }

  /**
   * Once its name has differed from that at enrolment, it always sends it: an earlier report may not have
   * arrived.
   */
  #newName(): string | undefined {
    const { name } = this.#options;
    if (!this.#running || name === undefined) return undefined;
    const own = clip(name, LIMITS.nameLength);
    if (own === this.#running.state.enrolledAs) return undefined;
    if (this.#running.state.enrolledAs !== undefined) this.#save({ enrolledAs: undefined });
    return own;
  }

  #opened(connection: Connection, message: Welcome): void {
    if (!this.#running) return;
    const { executions, clock, authenticator } = this.#running;
    clock.told(message.time);
    this.#displaced = false;
    this.#session = { gateway: connection.address, session: message.session, since: Date.now() };
    const link = authenticator.over(connection, (error) => this.#fault(error));
    executions.reportQueue.attach(link, executions.unsettled());
    executions.groupKeys.attach(connection);
    executions.resume();
    this.#tellStatus();
    void executions.sweep();
    this.#events.emit('connected', this.#session);
  }

  #ended(how: DeviceEvents['disconnected']): void {
    if (this.#session && how.code === DEVICE_CLOSE.replaced) this.#displaced = true;
    this.#session = null;
    this.#running?.executions.reportQueue.detach();
    this.#running?.executions.groupKeys.detach();
    this.#events.emit('disconnected', how);
    if (how.code === DEVICE_CLOSE.badProof) this.#tryOtherKey();
  }

  /** K-6: until a membership says which one counts, the one to try now and the other. */
  #keysToProve({ key, nextKey }: Running['state']): [first: DeviceKey, second?: DeviceKey] {
    if (!nextKey) return [key];
    return this.#provesNext ? [nextKey, key] : [key, nextKey];
  }

  /** The keys that a membership may name. */
  #publicKeys(stored: DeviceState): Uint8Array[] {
    const { key, nextKey } = this.#running?.state ?? stored;
    return [key, nextKey].flatMap((each) => (each ? [each.publicKey] : []));
  }

  /** K-6: the membership names the requested key. */
  #confirmed({ key }: MembershipOrder): Partial<DeviceState> {
    const next = this.#running?.state.nextKey;
    if (!key || !next || !sameBytes(key, next.publicKey)) return {};
    this.#provesNext = false;
    return { key: next, nextKey: undefined };
  }

  /** K-6: the server may have accepted the other key and its answer was lost. */
  #tryOtherKey(): void {
    if (!this.#running?.state.nextKey) return;
    this.#provesNext = !this.#provesNext;
    if (this.#provesNext) this.#uplink.connectNow();
  }

  async #locate(signal: AbortSignal): Promise<readonly string[]> {
    if (!this.#running) throw new Error('not started');
    const { trusted, state, inbox } = this.#running;
    const follow = (documents: readonly SignedServerKeys[]) => inbox.follow(documents);
    const { identity } = state;
    const { crypto, fetch, server = identity.server } = this.#options;
    const where = { deviceId: identity.deviceId, server };
    const ask = (key: DeviceKey) => locate({ identity, server, key, crypto, trusted, follow, signal, fetch });
    try {
      const [first, second] = this.#keysToProve(state);
      const { orders, gateways } = await ask(first).catch((error: ApiError) => {
        if (error.status !== 401 || !second) throw error;
        return ask(second);
      });
      for (const order of orders) inbox.take({ t: 'order', ...order }, true);
      await inbox.caughtUp();
      this.#log.info({ ...where, gateways: gateways.length }, 'asked the server where to go');
      return gateways;
    } catch (error) {
      const { message } = error as Error;
      if (!signal.aborted)
        this.#log.warn({ ...where, reason: message }, 'the server does not say where to go');
      throw error;
    }
  }

  #keep(kept: KeptGateways, list: boolean): void {
    this.#save(kept);
    if (list) this.#events.emit('gateways', kept.gateways);
  }

  #save(news: Partial<DeviceState>): void {
    void this.#saved(news).catch((error) => this.#fault(error));
  }

  /** Resolves when it is stored. */
  #saved(news: Partial<DeviceState>): Promise<void> {
    if (!this.#running) return Promise.resolve();
    const kept = { ...Object.assign(this.#running.state, news) };
    const saved = this.#saving.then(() => this.#options.store.saveState(kept));
    this.#saving = saved.catch(() => undefined);
    return saved;
  }

  #fault(error: unknown): void {
    const fault = error instanceof Error ? error : new Error(String(error));
    this.#log.error({ err: fault, deviceId: this.deviceId }, 'fault in the device');
    const told = this.#events.emit('fault', fault);
    // If the program neither listens nor logs, the fault still appears somewhere.
    if (!told && !this.#options.log) console.error('pushpoint device:', fault);
  }
}
