/**
 * Keeps the device connected: dials the gateways of its list, waits when it must, chooses again when there is
 * cause, and goes where it is sent (PROTOCOL.md, sections "Gateways" and "Closing"). Other parts handle the
 * messages.
 */
import {
  type Authenticated,
  DEVICE_CLOSE,
  type GatewayAddress,
  type GatewayMessage,
  type SignedPass,
  type Welcome,
} from '../../protocol/index.ts';
import type { ConnectionEnd } from '../connection-end.ts';
import type { DeviceEvents } from '../device-events.ts';
import { GatewayChoice } from '../gateways/choice.ts';
import { inNamedOrder } from '../gateways/named-order.ts';
import type { MakeNearness, Nearness } from '../gateways/nearness.ts';
import { Vouching } from '../gateways/vouching.ts';
import type { DeviceCrypto } from '../platform/crypto.ts';
import type { Dial } from '../platform/socket.ts';
import type { DeviceState } from '../storage/store.ts';
import { Connection, type Credentials } from './connection.ts';
import { Heartbeat } from './heartbeat.ts';
import { Reconnect, type ReconnectOptions } from './reconnect.ts';

export interface UplinkParts {
  dial: Dial;
  crypto: DeviceCrypto;
  handshakeTimeoutMs: number;
  reconnect: Partial<ReconnectOptions>;
  /** Without it, the device uses the list in its order. */
  nearness?: MakeNearness | undefined;
  random: () => number;
}

/** What the uplink passes on from a session. */
export type SessionMessage = Extract<
  GatewayMessage,
  { t: 'order' | 'keys' | 'settled' | 'keep' | 'key' | 'beat' }
>;

/** What an earlier program stored. */
export type KeptGateways = Pick<DeviceState, 'gateways' | 'older' | 'home' | 'measured'>;

export interface UplinkHooks {
  /** What the next connection proves. */
  credentials(): Credentials;
  opened(connection: Connection, message: Welcome): void;
  /** `open`: after `welcome`. */
  message(message: SessionMessage, open: boolean): void;
  ended(how: DeviceEvents['disconnected']): void;
  /** How many milliseconds longer the administration server vouches for this gateway (S-9). */
  vouched(gateway: string, pass: SignedPass | undefined): Promise<number>;
  /**
   * Asks the administration server where to go (G-16): the names of gateways, once their list is applied.
   * Rejects with an `ApiError` if that fails.
   */
  locate(signal: AbortSignal): Promise<readonly string[]>;
  /** The signed list that the device holds; `null` for none. */
  signedList(): readonly GatewayAddress[] | null;
  /** Resolves when everything received so far is applied. */
  caughtUp(): Promise<void>;
  /** The list, the gateway to return to, or a distance differs from what is stored. `list`: the list does. */
  changed(kept: KeptGateways, list: boolean): void;
  fault(error: unknown): void;
}

/**
 * The device asks where to go after this many attempts in a row without a session, and again after as many
 * more (G-16).
 */
const ASK_AFTER = 10;
/** G-14 */
const VERIFY_WITHIN_MS = 10_000;
/** The device has been told where to go, as by a redirect. */
const TOLD = { code: DEVICE_CLOSE.redirected, sessionMs: 0 };
/** What the device's membership says (S-8); `gone`: it was deleted or moved. */
export type Standing = 'active' | 'blocked' | 'gone';

type Timer = ReturnType<typeof setTimeout>;
type Phase =
  | { is: 'stopped' }
  /** It does not dial by itself: the device no longer belongs here (S-8). */
  | { is: 'idle' }
  | { is: 'waiting'; timer: Timer }
  | { is: 'choosing'; life: AbortController }
  | { is: 'connected'; connection: Connection; leaving?: Timer };

export class Uplink {
  readonly #parts: UplinkParts;
  readonly #hooks: UplinkHooks;
  readonly #reconnect: Reconnect;
  readonly #heartbeat: Heartbeat;
  readonly #nearness: Nearness | undefined;
  #gateways = new GatewayChoice([]);
  /** The order that was last asked for, by name (G-1). */
  #names: readonly string[] = [];
  /** The stored value, for a device that measures nothing. */
  #kept: KeptGateways['measured'];
  #phase: Phase = { is: 'stopped' };
  #standing: Standing = 'active';
  readonly #vouching: Vouching;
  /** The device probes gateways before the next attempt (G-10); `avoid` is the one it has cause to leave. */
  #chooseFirst: { avoid?: string } | null = null;
  /**
   * A gateway that refused the device and named others: not dialed again before `until`, by the monotonic
   * clock (C-5).
   */
  #shunned: { url: string; until: number } | null = null;
  /** Attempts in a row that brought no session. */
  #failed = 0;
  /** A request for where to go is in progress; the next not before `#askFrom`, by the monotonic clock. */
  #asking: AbortController | null = null;
  #askFrom = 0;
  /** The device closes because it was told to: that counts as "now", wherever it goes (G-3). */
  #leaving = false;
  /** The current redirect has reason `balance`. */
  #balanced = false;
  /** A redirect waits for the list that came before it. */
  #redirecting: Promise<void> | null = null;

  constructor(parts: UplinkParts, hooks: UplinkHooks) {
    this.#parts = parts;
    this.#hooks = hooks;
    this.#reconnect = new Reconnect(parts.reconnect, parts.random);
    this.#nearness = parts.nearness?.({
      list: () => this.list,
      own: () => this.#connection?.address,
      changed: () => this.#changed(false),
      told: () => this.#heartbeat.news(),
      measured: (distances) => this.#gateways.measured(distances),
      move: (to) => this.#move([to], 'moving to a nearer gateway'),
      random: parts.random,
    });
    this.#heartbeat = new Heartbeat(
      (beat) => this.#connection?.send(beat),
      () => this.#unanswered(),
      this.#nearness?.news,
    );
    this.#vouching = new Vouching({
      vouched: (gateway, pass) => hooks.vouched(gateway, pass),
      ask: () => this.#heartbeat.askPass(),
      list: () => this.list,
      leaveFor: (others) => this.#move(others, 'no pass of this gateway'),
      askWhere: () => void this.#ask(),
      random: parts.random,
    });
  }

  get #connection(): Connection | null {
    return this.#phase.is === 'connected' ? this.#phase.connection : null;
  }

  get list(): readonly GatewayAddress[] {
    return this.#gateways.list;
  }

  /** Told once, if there is a session. */
  status(status: Authenticated): void {
    this.#heartbeat.status(status);
  }

  start({ gateways, older, home, measured }: KeptGateways): void {
    if (this.#phase.is !== 'stopped') return;
    const nearness = this.#nearness;
    this.#gateways = new GatewayChoice(gateways, home, nearness?.order, older);
    this.#names = gateways.map(({ name }) => name);
    this.#kept = measured;
    nearness?.begin(measured);
    if (nearness) this.#gateways.measured(nearness.of(this.list));
    this.#chooseFirst = this.#gateways.settled ? null : {};
    this.#reconnect.reset();
    this.#shunned = null;
    this.#failed = 0;
    this.#phase = { is: 'idle' };
    if (this.#standing !== 'gone') this.#attempt();
  }

  /** S-8. Before the start, it decides whether there is a first attempt. */
  stand(standing: Standing): void {
    this.#standing = standing;
    const { is } = this.#phase;
    if (is === 'stopped' || is === 'connected') return;
    if (standing === 'gone') this.#never();
    else if (standing === 'blocked') this.#wait(this.#reconnect.blocked());
  }

  /** `abrupt`: without a close frame. */
  stop(abrupt: boolean): void {
    const connection = this.#connection;
    this.#rest({ is: 'stopped' });
    this.#asking?.abort();
    this.#nearness?.left();
    if (abrupt) connection?.giveUp('killed');
    else connection?.close('stopped');
  }

  /** A person or a program asks for a connection. */
  connectNow(): void {
    if (this.#standing === 'gone') return;
    if (this.#phase.is !== 'idle' && this.#phase.is !== 'waiting') return;
    this.#reconnect.reset();
    this.#shunned = null;
    this.#attempt();
  }

  /** There is a newer signed list (G-18). */
  signedListCame(list: readonly GatewayAddress[]): void {
    if (this.#phase.is !== 'stopped' && this.#replace(list, this.#connection?.address.url)) this.#listed();
  }

  /**
   * G-14: verifies an open session and compares its gateway with the others; without a session, chooses again
   * soon.
   */
  networkChanged(): void {
    const { is } = this.#phase;
    if (is === 'stopped' || is === 'idle' || (is === 'waiting' && this.#standing !== 'active')) return;
    const connection = this.#connection;
    if (connection?.open) {
      this.#heartbeat.verify(VERIFY_WITHIN_MS);
      void this.#nearness?.check();
      return;
    }
    this.#chooseFirst = {};
    connection?.giveUp('the network changed');
    this.#wait(this.#reconnect.afresh());
  }

  /* ---- towards a connection ---- */

  #attempt(): void {
    const nearness = this.#nearness;
    const shunned = this.#shunned;
    if (shunned && this.#gateways.current()?.url === shunned.url) {
      const earlyMs = shunned.until - performance.now();
      if (earlyMs > 0 && this.#gateways.size < 2) {
        this.#wait(earlyMs);
        return;
      }
      if (earlyMs > 0) this.#gateways.leave(shunned.url);
      else this.#shunned = null;
    }
    if (!this.#gateways.current()) {
      void this.#ask();
      this.#wait(this.#reconnect.next({ code: 1006, sessionMs: 0 }).inMs);
    } else if (this.#chooseFirst && nearness && !this.#gateways.redirected && this.list.length > 1) {
      void this.#choose(nearness, this.#chooseFirst.avoid);
    } else {
      this.#dial();
    }
  }

  /** G-16: goes on dialing meanwhile; the pauses between attempts spread those who ask. */
  async #ask(): Promise<void> {
    if (this.#asking || performance.now() < this.#askFrom) return;
    const asking = new AbortController();
    this.#asking = asking;
    try {
      const names = await this.#hooks.locate(asking.signal);
      // What the server says counts also where it leads from `wss:` to `ws:`.
      if (!asking.signal.aborted && this.#told(names)) this.#listed();
    } catch (error) {
      const { retryAfterMs } = error as { retryAfterMs?: number };
      this.#askFrom = performance.now() + (retryAfterMs ?? 0);
    } finally {
      this.#asking = null;
    }
  }

  /** The list is another: it is kept, and tried soon where there is no connection. */
  #listed(): void {
    this.#changed(true);
    const { is } = this.#phase;
    if (is === 'connected') this.#nearness?.listed();
    if (is === 'waiting' && this.#standing === 'active') this.#wait(this.#reconnect.next(TOLD).inMs);
  }

  async #choose(nearness: Nearness, avoid: string | undefined): Promise<void> {
    const life = new AbortController();
    this.#rest({ is: 'choosing', life });
    await nearness.round(life.signal);
    if (life.signal.aborted) return;
    this.#gateways.arrange(nearness.of(this.list), avoid);
    this.#dial();
  }

  /**
   * The signed list counts, in this order, which holds for later lists too. Says whether that changed
   * anything.
   */
  #told(names: readonly string[], from?: string): boolean {
    if (names.length > 0) this.#names = names;
    return this.#replace(this.#hooks.signedList() ?? this.list, from);
  }

  #replace(list: readonly GatewayAddress[], from?: string): boolean {
    if (!this.#gateways.replace(inNamedOrder(list, this.#names), from)) return false;
    if (this.#nearness) this.#gateways.measured(this.#nearness.of(this.list));
    return true;
  }

  #dial(): void {
    const address = this.#gateways.current();
    if (!address) return;
    this.#chooseFirst = null;
    // None of the named gateways admitted the device: from here on it chooses by itself.
    this.#balanced &&= this.#gateways.redirected;
    const { dial, crypto, handshakeTimeoutMs } = this.#parts;
    const credentials = this.#hooks.credentials();
    try {
      const connection = new Connection(
        address,
        { dial, crypto, credentials, handshakeTimeoutMs },
        {
          welcome: (message) => this.#welcome(connection, message),
          message: (message) => this.#message(connection, message),
          ended: (end) => this.#afterRedirect(() => this.#ended(address, end)),
        },
      );
      this.#rest({ is: 'connected', connection });
    } catch (error) {
      // A url that cannot be dialed at all.
      this.#hooks.fault(error);
      this.#ended(address, { code: 1006, reason: String(error), after: 'dialing', sessionMs: 0 });
    }
  }

  #welcome(connection: Connection, message: Welcome): void {
    const { address } = connection;
    this.#failed = 0;
    this.#asking?.abort();
    const news = this.#gateways.arrived(address);
    const list = this.#told(message.gateways, address.url);
    if (list || news) this.#changed(list);
    this.#heartbeat.start(message.heartbeatMs, this.#parts.random);
    this.#nearness?.arrived(address.url, this.#balanced);
    this.#balanced = false;
    this.#hooks.opened(connection, message);
    void this.#vouching.told(address.name, message.pass);
  }

  #message(connection: Connection, message: Exclude<GatewayMessage, { t: 'welcome' | 'challenge' }>): void {
    switch (message.t) {
      case 'update':
        if (this.#told(message.gateways, connection.address.url)) this.#listed();
        return;
      case 'redirect':
        this.#redirecting = this.#hooks.caughtUp().then(() => this.#redirect(connection, message));
        return;
      case 'pass':
        void this.#vouching.told(connection.address.name, message);
        return;
      case 'beat':
        this.#heartbeat.answered();
        break;
    }
    this.#hooks.message(message, connection.open);
  }

  /* ---- away from one ---- */

  /** The end of a connection counts after the redirect that came before it. */
  #afterRedirect(end: () => void): void {
    const before = this.#redirecting;
    this.#redirecting = null;
    if (before) void before.then(end);
    else end();
  }

  /**
   * G-3: at a random moment of the time allowed, so that devices redirected together do not arrive together.
   */
  #redirect(
    connection: Connection,
    { to, withinMs, reason }: Extract<GatewayMessage, { t: 'redirect' }>,
  ): void {
    const { url } = connection.address;
    const balance = reason === 'balance';
    this.#gateways.redirect(this.#gateways.known(to), url, balance);
    this.#balanced = this.#gateways.redirected && balance;
    if (!this.#gateways.redirected) this.#chooseFirst = { avoid: url };
    const phase = this.#phase;
    if (phase.is !== 'connected' || !connection.open) return;
    clearTimeout(phase.leaving);
    phase.leaving = setTimeout(() => {
      this.#leaving = true;
      connection.close('redirected');
    }, this.#parts.random() * withinMs);
  }

  /** G-12, G-17: the device found better gateways by itself. */
  #move(to: GatewayAddress[], why: string): void {
    const connection = this.#connection;
    if (!connection?.open || this.#gateways.redirected) return;
    this.#gateways.redirect(to, connection.address.url);
    connection.close(why);
  }

  /** B-3, G-13 */
  #unanswered(): void {
    const connection = this.#connection;
    if (!connection) return;
    this.#gateways.leave(connection.address.url);
    this.#chooseFirst = { avoid: connection.address.url };
    connection.giveUp('B-3: heartbeats not answered');
  }

  #ended(address: GatewayAddress, end: ConnectionEnd): void {
    const { code, reason, sessionMs } = end;
    this.#heartbeat.stop();
    this.#nearness?.left();
    this.#vouching.left();
    if (this.#phase.is === 'stopped') {
      this.#hooks.ended({ gateway: address, code, reason, advice: 'never', retryInMs: null });
      return;
    }
    const { sent, code: counts } = this.#gateways.ended(address, end);
    // Told to leave, but not where to go (G-13).
    if (!sent && code === DEVICE_CLOSE.draining) this.#chooseFirst ??= { avoid: address.url };
    if (end.after !== 'session' && ++this.#failed % ASK_AFTER === 0) void this.#ask();
    const refused = sent && end.gateways !== undefined;
    if (refused) this.#shunned = { url: address.url, until: performance.now() + (end.retryAfterMs ?? 0) };
    const next = this.#reconnect.next({
      code: this.#leaving ? DEVICE_CLOSE.redirected : counts,
      retryAfterMs: refused ? undefined : end.retryAfterMs,
      sessionMs,
      gateways: this.#gateways.size,
    });
    this.#leaving = false;
    if (this.#standing === 'gone') {
      this.#never();
      this.#hooks.ended({ gateway: address, code, reason, advice: 'never', retryInMs: null });
      return;
    }
    // A gateway that cannot be reached says nothing about the device.
    const asked = this.#standing === 'blocked' && end.after !== 'dialing';
    const retryInMs = asked ? this.#reconnect.blocked() : next.inMs;
    this.#wait(retryInMs);
    this.#hooks.ended({ gateway: address, code, reason, advice: next.advice, retryInMs });
  }

  #never(): void {
    this.#asking?.abort();
    this.#rest({ is: 'idle' });
  }

  #wait(inMs: number): void {
    this.#rest({ is: 'waiting', timer: setTimeout(() => this.#attempt(), inMs) });
  }

  /** Leaves the previous phase and releases its resources. */
  #rest(next: Phase): void {
    const before = this.#phase;
    if (before.is === 'waiting') clearTimeout(before.timer);
    else if (before.is === 'choosing') before.life.abort();
    else if (before.is === 'connected') clearTimeout(before.leaving);
    this.#phase = next;
  }

  #changed(list: boolean): void {
    const { home, older } = this.#gateways;
    const measured = this.#nearness?.kept ?? this.#kept;
    const kept = { gateways: [...this.list], older: [...older], ...(measured && { measured }) };
    this.#hooks.changed({ ...kept, ...(home === undefined ? {} : { home }) }, list);
  }
}
