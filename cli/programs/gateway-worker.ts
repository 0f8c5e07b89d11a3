/**
 * The process of one worker of a gateway. `gateway.ts` starts it and sends its configuration in the first
 * message, secrets included: other users can read arguments and environment.
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
  /** The gateway's installation, if known: a restarted worker must not accept another one. */
  installation?: Installation;
  /** Folder of the gateway's identity, which is reread when it changes. */
  identityFolder: string;
  logLevel: string;
  stopDeadlineMs: number;
}

function run(): void {
  if (!process.connected) throw new Error('this is a part of `pushpoint gateway`: start that');
  // In the same event: a stop may follow at once, before `superviseWorker` listens.
  process.once('message', (orders) => void serve(orders as WorkerOrders));
}

async function serve(orders: WorkerOrders): Promise<void> {
  const { config, redis, installation, identityFolder, logLevel, stopDeadlineMs } = orders;
  const log = programLog(logLevel);
  // The supervisor logs the settings of Redis that should be changed, once for all workers.
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
  // The installation whose keys it trusts. The supervisor read it as well: without it a worker admits nobody.
  const { fingerprint } = files.read() ?? {};
  if (!fingerprint) throw new Error(`there is no identity of the gateway in ${files.identityFile} any more`);
  const parts = { config, bus, log, certificates, version: version(), fingerprint, stopDeadlineMs };
  process.exitCode = await superviseWorker(parts);
}

if (process.argv[1] !== undefined && pathToFileURL(process.argv[1]).href === import.meta.url) run();
