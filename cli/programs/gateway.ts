/**
 * `pushpoint gateway`: a push server of several worker processes; joins administration servers through Redis.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import type { Bus } from '../../bus/bus.ts';
import { Certificates } from '../../bus/tls/certificates.ts';
import { type GatewayConfig, Supervisor } from '../../gateway/index.ts';
import { credentialsFrom } from '../../gateway/joining/credentials.ts';
import type { Flags } from '../command-line.ts';
import { loadConfig } from '../config/load.ts';
import { redisSettings } from '../config/redis.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import type { Shell } from '../shell.ts';
import { version } from '../version.ts';
import { busPart } from './bus-part.ts';
import { gatewayConfig } from './gateway-parts.ts';
import type { WorkerOrders } from './gateway-worker.ts';
import { identityFiles, joiningPart } from './joining.ts';
import { Assembly, type Part, runUntilSignal } from './lifecycle.ts';
import { programLog } from './logger.ts';
import { sayReady } from './ready.ts';
import { WaitingRoom } from './waiting-room.ts';

const WORKER_ENTRY = fileURLToPath(new URL('./gateway-worker.js', import.meta.url));

/**
 * Size of V8's young generation in a worker, MiB per half. By default it grows to 16 with the first burst,
 * which keeps 33 MB per worker for good. A worker's objects live for a frame or for a session, so a small one
 * collects as cheaply.
 */
const WORKER_FLAGS = ['--max-semi-space-size=4'];

export async function runGateway(shell: Shell, flags: Flags): Promise<ExitCode> {
  const config = loadConfig('gateway', { flags, env: shell.env });
  const own: Readonly<GatewayConfig> = Object.freeze({
    ...gatewayConfig(config),
    workers: config.workers ?? availableParallelism(),
  });
  const log = programLog(config.logLevel);
  const redis = redisSettings(config);
  const room = new WaitingRoom({ host: own.metricsHost, port: own.metricsPort }, log);
  const certificates = new Certificates(log);
  const files = identityFiles(config);
  const credentials = credentialsFrom(files, certificates);
  const { bus, part } = busPart({ redis, room, log, certificates, credentials });
  let over: (end: { reason: string; code: ExitCode }) => void = () => {};
  const failed = new Promise<{ reason: string; code: ExitCode }>((resolve) => {
    over = resolve;
  });
  const joining = joiningPart(config, { files, bus, room, log }, (reason) =>
    over({ reason, code: EXIT.refused }),
  );
  // A quarter of the time is left for the parts that stop after it.
  const stopDeadlineMs = config.stopDeadline * 0.75;
  const { supervisor, part: gateway } = supervisorPart(own, bus, log, {
    redis,
    identityFolder: files.folder,
    logLevel: config.logLevel,
    stopDeadlineMs,
  });

  return runUntilSignal({
    shell,
    log,
    failed,
    assembly: new Assembly([room.enter(), part, joining, room.leave(), gateway], log),
    stopDeadlineMs: config.stopDeadline,
    live: () => supervisor.liveness().live,
    reload() {
      certificates.reread();
      supervisor.reloadTls();
    },
    onReady() {
      const { port, metricsPort } = supervisor;
      const address = own.initial.address.replace(/:0(?=\/|$)/, `:${port}`);
      sayReady(
        shell,
        { program: 'gateway', pid: process.pid, gateway: address, gatewayPort: port, metricsPort },
        [
          `Gateway ${config.name} listens on port ${port}, ${own.workers} worker(s).`,
          `  Devices dial  ${address}`,
          `  Health        http://${config.metricsHost}:${metricsPort}/ready`,
        ],
        config.readyFile,
      );
    },
  });
}

function supervisorPart(
  config: Readonly<GatewayConfig>,
  bus: Bus,
  log: Logger,
  orders: Omit<WorkerOrders, 'config'>,
): { supervisor: Supervisor; part: Part } {
  const supervisor = new Supervisor({
    config,
    bus,
    log,
    version: version(),
    fork: (own) => forkWorker({ ...orders, ...known(bus), config: own }),
  });
  const stop = (): Promise<void> => supervisor.stop({ deadlineMs: orders.stopDeadlineMs });
  return { supervisor, part: { name: 'gateway', start: () => supervisor.start(), stop } };
}

function known({ owner: { current } }: Bus): Pick<WorkerOrders, 'installation'> {
  return current === null ? {} : { installation: current };
}

function forkWorker(orders: WorkerOrders): ChildProcess {
  const child = fork(WORKER_ENTRY, [], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: [...process.execArgv, ...WORKER_FLAGS],
  });
  child.send(orders, () => {
    // A process that could not be started reports it by 'error' and 'exit'.
  });
  return child;
}
