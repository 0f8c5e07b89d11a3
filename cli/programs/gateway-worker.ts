/**
 * The process of one worker of a gateway; `gateway.ts` starts it and tells it, in the first message, what to be. Secrets come
 * that way too: arguments and environment can be read by others.
 */
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { openBus } from '../../bus/open-bus.ts';
import { type GatewayConfig, superviseWorker } from '../../gateway/index.ts';
import { version } from '../version.ts';
import { programLog } from './logger.ts';

/** The first message. */
export interface WorkerOrders {
  config: Readonly<GatewayConfig>;
  redisUrl: string;
  logLevel: string;
  stopDeadlineMs: number;
}

async function run(): Promise<void> {
  if (!process.connected) throw new Error('this is a part of `pushpoint gateway`: start that');
  const [orders] = (await once(process, 'message')) as [WorkerOrders];
  const { config, redisUrl, logLevel, stopDeadlineMs } = orders;
  const log = programLog(logLevel);
  const bus = openBus({ redisUrl, log });
  process.exitCode = await superviseWorker({ config, bus, log, version: version(), stopDeadlineMs });
}

if (process.argv[1] !== undefined && pathToFileURL(process.argv[1]).href === import.meta.url) await run();
