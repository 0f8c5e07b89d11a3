/**
 * The inside of a worker process: a `GatewayWorker` that asks its supervisor about ports, reports its state,
 * and stops on request.
 */
import type { Logger } from 'pino';
import type { Bus } from '../../bus/bus.ts';
import type { Certificates } from '../../bus/tls/certificates.ts';
import type { GatewayConfig } from '../config.ts';
import { PortUnavailable } from '../listen/port-probe.ts';
import { GatewayWorker } from '../worker.ts';
import type { WorkerState } from '../worker-status.ts';
import { type FromWorker, STATE_PERIOD_MS, type ToWorker } from './messages.ts';

export interface SuperviseWorkerParts {
  config: Readonly<GatewayConfig>;
  /** This module starts and stops it. */
  bus: Bus;
  log: Logger;
  /** The certificates of the process. */
  certificates: Certificates;
  version?: string;
  /** See `GatewayWorkerParts`. */
  fingerprint?: Uint8Array | undefined;
  /** Time for a stop without a deadline (the supervisor died, or SIGTERM), milliseconds. */
  stopDeadlineMs: number;
}

/** A worker that hangs while stopping exits this long after the deadline, milliseconds. */
const HANGS_MS = 1_000;

/**
 * Runs until the supervisor stops it or is gone, or until SIGTERM. Ctrl-C at a terminal reaches workers as
 * well, but only the supervisor reacts to it. Resolves with the exit code.
 */
export async function superviseWorker(parts: SuperviseWorkerParts): Promise<number> {
  const { config, bus, log, certificates, version, fingerprint, stopDeadlineMs } = parts;
  const channel = new Channel();
  const worker = new GatewayWorker({
    config,
    bus,
    log,
    certificates,
    ...(version === undefined ? {} : { version }),
    ...(fingerprint && { fingerprint }),
    siblings: {
      clearPort: (port) => channel.clearPort(port),
      changed: () => channel.sayState(worker.state()),
    },
  });
  const stopped = new Promise<{ deadlineMs: number; refuse: boolean }>((resolve) => {
    channel.on('stop', ({ deadlineMs }) => resolve({ deadlineMs, refuse: true }));
    process.once('disconnect', () => resolve({ deadlineMs: stopDeadlineMs, refuse: true }));
    // When only this worker stops, it must not refuse clients, because its siblings still accept them.
    process.on('SIGTERM', () => resolve({ deadlineMs: stopDeadlineMs, refuse: false }));
    process.on('SIGINT', () => {});
  });
  channel.on('siblings-full', ({ full }) => worker.setSiblingsFull(full));
  channel.on('reload-tls', () => certificates.reread());
  channel.on('metrics', async ({ id }) =>
    channel.say({ t: 'metrics', id, metrics: await worker.metricsJson() }),
  );
  const telling = setInterval(() => channel.sayState(worker.state()), STATE_PERIOD_MS);
  // Exit even if something hangs: without a supervisor, nobody kills this worker.
  void stopped.then(({ deadlineMs }) => {
    setTimeout(() => process.exit(1), deadlineMs + HANGS_MS).unref();
  });
  try {
    const starting = (async () => {
      await bus.start();
      await worker.start();
    })();
    // A stop during the start must not be delayed.
    const early = await Promise.race([starting, stopped]);
    if (!early) {
      channel.say({ t: 'state', state: worker.state() });
      channel.say({ t: 'started' });
    }
    const { deadlineMs, refuse } = early ?? (await stopped);
    await worker.stop({ deadlineMs, refuse });
    return 0;
  } catch (error) {
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    log.error({ err: error }, 'cannot start the worker process');
    channel.say({ t: 'failed', name, message });
    return 1;
  } finally {
    clearInterval(telling);
    await bus.stop();
    if (process.connected) process.disconnect();
  }
}

type Kind = ToWorker['t'];
type Of<K extends Kind> = Extract<ToWorker, { t: K }>;

/** The worker's end of the channel. */
class Channel {
  readonly #handlers = new Map<Kind, (message: never) => unknown>();
  readonly #asked = new Map<number, (problem: string | undefined) => void>();
  #lastId = 0;
  #stateWaits = false;

  constructor() {
    process.on('message', (message) => {
      const { t } = message as ToWorker;
      this.#handlers.get(t)?.(message as never);
    });
    this.on('port', ({ id, problem }) => {
      this.#asked.get(id)?.(problem);
      this.#asked.delete(id);
    });
  }

  on<K extends Kind>(kind: K, handler: (message: Of<K>) => unknown): void {
    this.#handlers.set(kind, handler);
  }

  say(message: FromWorker): void {
    // Without a supervisor the worker stops, which 'disconnect' sees to.
    if (process.connected) process.send?.(message, undefined, undefined, () => {});
  }

  /** Not while the previous one is still queued: with a frozen supervisor they would pile up. */
  sayState(state: WorkerState): void {
    if (this.#stateWaits || !process.connected) return;
    this.#stateWaits = true;
    const message: FromWorker = { t: 'state', state };
    process.send?.(message, undefined, undefined, () => {
      this.#stateWaits = false;
    });
  }

  clearPort(port: number): Promise<void> {
    if (!process.connected) return Promise.reject(new PortUnavailable('the supervisor is gone'));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, (problem) =>
        problem === undefined ? resolve() : reject(new PortUnavailable(problem)),
      );
      this.say({ t: 'port', id, port });
    });
  }
}
