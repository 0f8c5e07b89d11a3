/**
 * The process of one worker of a gateway; `gateway.ts` starts it and tells it, in the first message, what to
 * be. Secrets come that way too: arguments and environment can be read by others.
 */
import { pathToFileURL } from 'node:url';
import type { Installation } from '../../bus/bus.ts';
import { openBus } from '../../bus/open-bus.ts';
import type { RedisSettings } from '../../bus/redis/settings.ts';
import { Certificates } from '../../bus/tls/certificates.ts';
import { type GatewayConfig, superviseWorker } from '../../gateway/index.ts';
import { credentialsFrom } from '../../gateway/joining/credentials.ts';
import { IdentityFiles } from '../../gateway/joining/identity-files.ts';
import { version } from '../version.ts';
import { programLog } from './logger.ts';

/** The first message. */
export interface WorkerOrders {
  config: Readonly<GatewayConfig>;
  redis: RedisSettings & { prefix: string };
  /** Of the gateway, when it is known already: a worker that is restarted must not learn another. */
  installation?: Installation;
  /** Where what the gateway is known by is, which is read again when it changes. */
  identityFolder: string;
  logLevel: string;
  stopDeadlineMs: number;
}

function run(): void {
  if (!process.connected) throw new Error('this is a part of `pushpoint gateway`: start that');
  // Within the event: a stop may follow at once, and nobody would hear it before `superviseWorker` listens.
  process.once('message', (orders) => void serve(orders as WorkerOrders));
}

async function serve(orders: WorkerOrders): Promise<void> {
  const { config, redis, installation, identityFolder, logLevel, stopDeadlineMs } = orders;
  const log = programLog(logLevel);
  // What should be changed in Redis the supervisor says, once for all workers.
  const certificates = new Certificates(log);
  const files = new IdentityFiles(identityFolder);
  const bus = openBus({
    redis,
    log,
    tellWarnings: false,
    certificates,
    credentials: credentialsFrom(files, certificates),
    ...(installation && { installation }),
  });
  // Whom to believe about devices. The supervisor read it as well: without it a worker admits nobody.
  const { fingerprint } = files.read() ?? {};
  if (!fingerprint) throw new Error(`there is no identity of the gateway in ${files.identityFile} any more`);
  const parts = { config, bus, log, certificates, version: version(), fingerprint, stopDeadlineMs };
  process.exitCode = await superviseWorker(parts);
}

if (process.argv[1] !== undefined && pathToFileURL(process.argv[1]).href === import.meta.url) run();
