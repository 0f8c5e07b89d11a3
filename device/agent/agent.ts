/**
 * The reference agent: enrols, stays connected, runs the tasks and the sync hook its own configuration names,
 * and reports the machine's figures.
 */
import type { Logger } from 'pino';
import { CLOSE } from '../../protocol/index.ts';
import {
  type DeviceEvents,
  EnrollError,
  enroll,
  FileStore,
  httpProbe,
  PushpointDevice,
  Reconnect,
  type ReconnectOptions,
  type WsOptions,
  watchInterfaces,
  wsDial,
  wsLegDial,
} from '../index.ts';
import type { AgentConfig } from './config.ts';
import { statistics } from './statistics.ts';
import { Tasks } from './tasks.ts';

const SOFTWARE = 'pushpoint-agent/0.1.0';

export interface AgentParts {
  reconnect?: Partial<ReconnectOptions>;
  ws?: WsOptions;
  /** From SIGTERM to SIGKILL for tasks, milliseconds; 10 s when absent. */
  killAfterMs?: number;
}

/** Why an agent ended by itself: it cannot change that. */
export interface AgentEnd {
  reason: string;
}

export class Agent {
  readonly #config: AgentConfig;
  readonly #log: Logger;
  readonly #parts: AgentParts;
  readonly #tasks: Tasks;
  readonly #life = new AbortController();
  /** Resolves when the device was deleted or moved to another installation; never when it is stopped. */
  readonly ended: Promise<AgentEnd>;
  /** Resolves when the first attempt to connect ended, or the agent stops; never when the device left. */
  readonly tried: Promise<void>;
  #end: (end: AgentEnd) => void = () => {};
  #try: () => void = () => {};
  #store: FileStore | null = null;
  #device: PushpointDevice | null = null;
  #starting: Promise<void> | null = null;
  #stopping: Promise<void> | null = null;

  constructor(config: AgentConfig, log: Logger, parts: AgentParts = {}) {
    this.#config = config;
    this.#log = log;
    this.#parts = parts;
    this.#tasks = new Tasks(config, log, parts.killAfterMs);
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.tried = new Promise((resolve) => {
      this.#try = resolve;
    });
  }

  get device(): PushpointDevice | null {
    return this.#device;
  }

  /**
   * Resolves when the agent is enrolled and connecting; waits for a server that does not answer. Throws
   * `EnrollError` when the server refuses, and `FolderInUse` when another agent uses the state folder.
   */
  start(): Promise<void> {
    this.#starting ??= this.#start().catch((error) => {
      this.#starting = null;
      throw error;
    });
    return this.#starting;
  }

  async #start(): Promise<void> {
    const store = await FileStore.open(this.#config.stateDir);
    this.#store = store;
    try {
      if (store.damagedLines > 0)
        this.#log.warn({ lines: store.damagedLines }, 'the journal had damaged lines');
      await this.#enrolled(store);
      if (this.#life.signal.aborted) throw new EnrollError('stopped while it started');
      this.#tasks.open();
      const device = this.#make(store);
      await device.start();
      this.#device = device;
    } catch (error) {
      this.#store = null;
      await store.close();
      throw error;
    }
    this.#log.info({ deviceId: this.#device.deviceId, stateDir: this.#config.stateDir }, 'agent started');
  }

  /**
   * Running tasks get SIGTERM, and SIGKILL at the deadline; their executions are `interrupted` at the next
   * start.
   */
  stop(deadlineMs = 5_000): Promise<void> {
    this.#stopping ??= this.#stop(deadlineMs);
    return this.#stopping;
  }

  /** For a process that ends at once: its tasks must not outlive it. */
  kill(): void {
    this.#tasks.kill();
  }

  async #stop(deadlineMs: number): Promise<void> {
    this.#life.abort();
    this.#try();
    await this.#starting?.catch(() => undefined);
    const killed = setTimeout(() => void this.#tasks.close(0), deadlineMs);
    await this.#device?.stop({ deadlineMs });
    clearTimeout(killed);
    await this.#tasks.close(0);
    await this.#store?.close();
    this.#log.info('agent stopped');
  }

  async #enrolled(store: FileStore): Promise<void> {
    const { state } = await store.load();
    if (state.identity && state.keys) return;
    const pause = new Reconnect(this.#parts.reconnect);
    for (;;) {
      let retryAfterMs: number | undefined;
      try {
        const { deviceId } = await this.#enroll(store);
        this.#log.info({ deviceId, server: this.#config.server }, 'enrolled');
        return;
      } catch (error) {
        if (!(error instanceof EnrollError) || !error.temporary) throw error;
        retryAfterMs = error.retryAfterMs;
        this.#sayWhy(error);
      }
      const { inMs } = pause.next({ code: 1006, retryAfterMs, sessionMs: 0 });
      await this.#pause(inMs);
    }
  }

  /** Whoever is on the way may have answered (E-6): so it asks again, however wrong the address looks. */
  #sayWhy({ status, message: reason }: EnrollError): void {
    const { server } = this.#config;
    if (status === 404) this.#log.error({ server, remedy: WRONG_SERVER }, 'no server here: asking again');
    else this.#log.warn({ server, reason }, 'not enrolled yet: asking again');
  }

  async #enroll(store: FileStore) {
    const { server, token, name } = this.#config;
    if (!token)
      throw new EnrollError('an enrolment token is needed: --token, PUSHPOINT_ENROLMENT_TOKEN or the file');
    const { signal } = this.#life;
    return enroll({ server, token, name, store, software: SOFTWARE, signal });
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#life;
    return new Promise((resolve, reject) => {
      const stopped = () => {
        clearTimeout(timer);
        reject(new EnrollError('stopped before it was enrolled'));
      };
      const timer = setTimeout(() => {
        signal.removeEventListener('abort', stopped);
        resolve();
      }, ms);
      if (signal.aborted) stopped();
      else signal.addEventListener('abort', stopped, { once: true });
    });
  }

  #make(store: FileStore): PushpointDevice {
    const { server, stateDir, tunnels } = this.#config;
    const tasks = this.#tasks;
    const device = new PushpointDevice({
      store,
      server,
      software: SOFTWARE,
      name: this.#config.name,
      log: this.#log,
      dial: wsDial(this.#parts.ws),
      probe: httpProbe(this.#parts.ws),
      watchNetwork: watchInterfaces(),
      tunnels: { allow: tunnels.allow, maxTunnels: tunnels.max, dial: wsLegDial(this.#parts.ws) },
      ...(this.#parts.reconnect ? { reconnect: this.#parts.reconnect } : {}),
    });
    device
      .handle('sync', (command, context) => tasks.sync(command, context), { safeToRepeat: true })
      // A task may run for days, and stopping it must not wait for a slot.
      .handle('task.start', (command, context) => tasks.start(command, context), {
        unlimited: true,
        goesOn: (command) => tasks.goesOn(command),
      })
      .handle('task.stop', (command) => tasks.stop(command), { unlimited: true })
      .handle('statistics', () => statistics(device, tasks, { stateDir, software: SOFTWARE }), {
        safeToRepeat: true,
      })
      .handle('message', ({ id: commandId, args: { topic }, secret }) => {
        this.#log.info({ commandId, ...(!secret && { topic }) }, 'message');
      });
    this.#watch(device);
    return device;
  }

  #watch(device: PushpointDevice): void {
    device.on('connected', ({ gateway }) => {
      this.#try();
      this.#log.info({ gateway: gateway.name, url: gateway.url }, 'connected');
    });
    device.on('disconnected', ({ gateway, code, reason, advice, retryInMs }) => {
      this.#log.info({ gateway: gateway.name, code, reason, advice, retryInMs }, 'disconnected');
      if (this.#life.signal.aborted) return;
      if (code === CLOSE.replaced) this.#log.warn('another program uses the same key (H-9)');
      this.#try();
      const remedy = REMEDIES[code];
      if (advice === 'slow')
        this.#log.error({ code, reason, remedy }, 'the gateway does not admit this device');
    });
    device.on('membership', ({ state }) => {
      if (state === 'blocked') this.#log.error(`device ${device.deviceId} is blocked. ${UNBLOCK}`);
    });
    device.on('left', (left) => this.#end({ reason: farewell(device.deviceId ?? '', left) }));
    device.on('tunnel-opened', ({ tunnel, host, port }) => {
      this.#log.info({ tunnelId: tunnel, host, port }, 'tunnel opened');
    });
    device.on('tunnel-ended', ({ tunnel, host, port, reason }) => {
      // Somebody between the two ends changed what passed (T-14).
      const level = reason?.startsWith('forged') ? 'warn' : 'info';
      this.#log[level]({ tunnelId: tunnel, host, port, reason }, 'tunnel ended');
    });
    device.on('stream-refused', ({ tunnel, host, port, reason }) => {
      this.#log.warn({ tunnelId: tunnel, host, port, reason }, 'stream of a tunnel refused');
    });
    device.on('order-refused', ({ reason, id }) => {
      const level = reason === 'bad signature' ? 'error' : 'debug';
      this.#log[level]({ commandId: id, reason }, 'order refused');
    });
  }
}

const WRONG_SERVER =
  'It answers an enrolment with HTTP 404. Correct --server (PUSHPOINT_SERVER or `server` in the file) ' +
  'if it is not the base URL of a Pushpoint administration server, with the path that it has behind a proxy.';

const ENROL_AGAIN = 'Empty its state folder and start it with an enrolment token to make it a device again.';

const UNBLOCK =
  'It asks again once a day. After `pushpoint devices unblock`, start the agent again to connect at once.';

/** Advice for close codes after which a device only dials more slowly (C-2). */
const REMEDIES: Record<number, string> = {
  [CLOSE.protocolError]: 'One of the two programs has a fault: update this program or the gateway.',
  [CLOSE.unknownDevice]: `It was deleted long ago, or is enrolled with another server. ${ENROL_AGAIN}`,
  [CLOSE.badProof]: `Its key is not the one stored. ${ENROL_AGAIN}`,
  [CLOSE.blocked]: UNBLOCK,
  [CLOSE.unsupportedVersion]: 'The gateway does not speak its version of the protocol: update this program.',
};

function farewell(device: string, { state, to }: DeviceEvents['left']): string {
  if (state === 'deleted' || !to) return `Device ${device} was deleted. ${ENROL_AGAIN}`;
  const fingerprint = Buffer.from(to.fingerprint).toString('base64url');
  return (
    `Device ${device} belongs to another installation now: ${to.url}, fingerprint ${fingerprint}. ` +
    'Empty its state folder and start it with that server and one of its enrolment tokens.'
  );
}
