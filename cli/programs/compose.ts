/**
 * From settings to parts: the only place that knows both the administration server and the gateway. Everything is
 * built here and started elsewhere (`Assembly`), in the order of the list it stands in.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import { AdminServer } from '../../admin-api/admin-server.ts';
import { DatabaseLock } from '../../admin-api/store/database-lock.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import type { Bus } from '../../bus/bus.ts';
import { openBus } from '../../bus/open-bus.ts';
import type { RedisSettings } from '../../bus/redis/settings.ts';
import {
  type GatewayConfig,
  GatewayConfigError,
  GatewayWorker,
  parseGatewayConfig,
} from '../../gateway/index.ts';
import { ConfigError } from '../config/load.ts';
import type { ConfigOf } from '../config/options.ts';
import { version } from '../version.ts';
import type { Part } from './lifecycle.ts';

export function busPart(redis: RedisSettings | undefined, log: Logger): { bus: Bus; part: Part } {
  const bus = openBus({ ...(redis === undefined ? {} : { redis }), log });
  return { bus, part: { name: 'bus', start: () => bus.start(), stop: () => bus.stop() } };
}

/** What about Redis is `redisSettings`' business. */
type WithoutRedis<T> = Omit<T, Extract<keyof T, `redis${string}`>>;
type AdminSettings = WithoutRedis<Omit<ConfigOf<'admin'>, 'config'>>;

export interface AdminParts {
  parts: Part[];
  server: AdminServer;
  /** Where the first start on an empty database leaves the first admin token. */
  tokenFile: string;
}

/** The store and the administration server. Makes the data folder, for this user only. Throws `ConfigError`. */
export function adminParts(config: AdminSettings, bus: Bus, log: Logger): AdminParts {
  const tls = tlsFiles('--api-tls-cert', config.apiTlsCert, '--api-tls-key', config.apiTlsKey);
  const dataDir = resolve(config.dataDir);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const store = openStore({ dataDir, databaseUrl: config.databaseUrl, log });
  const tokenFile = join(dataDir, 'admin-token');
  const server = new AdminServer({
    config: {
      host: config.apiHost,
      port: config.apiPort,
      version: version(),
      keepCommandsMs: config.keepCommands,
      keepEventsMs: config.keepEvents,
      balanceMovesPerSecond: config.balanceMovesPerSecond,
      tunnels: {
        perDevice: config.tunnelsPerDevice,
        perOperator: config.tunnelsPerOperator,
        idleMs: config.tunnelIdle,
        lifeMs: config.tunnelLife,
        maxBytes: config.tunnelMaxBytes,
      },
      canaryIntervalMs: config.canaryInterval,
      ...(config.trustProxy === undefined ? {} : { trustProxy: proxyList(config.trustProxy) }),
      ...(tls === null ? {} : { tls }),
    },
    store,
    bus,
    log,
    keepFirstToken: (token) => writeToken(tokenFile, token),
  });
  const lock = config.databaseUrl === undefined ? new DatabaseLock(dataDir) : null;
  const parts: Part[] = [
    { name: 'lock of the database', start: async () => lock?.take(), stop: async () => lock?.release() },
    { name: 'store', start: () => store.start(), stop: () => store.stop() },
    { name: 'administration server', start: () => server.start(), stop: () => server.stop() },
  ];
  return { parts, server, tokenFile };
}

/** Throws `ConfigError` for what is neither an address, a range, nor one of the names of ranges. */
function proxyList(text: string): string[] {
  const list = text.split(',').map((entry) => entry.trim());
  const wrong = list.filter((entry) => !isProxyAddress(entry));
  if (wrong.length > 0) {
    throw new ConfigError([
      `--trust-proxy: ${wrong.map((entry) => JSON.stringify(entry)).join(', ')} is no address`,
    ]);
  }
  return list;
}

function isProxyAddress(entry: string): boolean {
  if (['loopback', 'linklocal', 'uniquelocal'].includes(entry)) return true;
  const [address = '', bits, ...more] = entry.split('/');
  const version = isIP(address);
  if (version === 0 || more.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
}

/** Readable by this user only, whole or not there, and on the disk before it is on record. */
async function writeToken(path: string, token: string): Promise<void> {
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  await writeFile(temporary, `${token}\n`, { mode: 0o600, flag: 'wx', flush: true });
  await rename(temporary, path);
}

function tlsFiles(
  certFlag: string,
  certFile: string | undefined,
  keyFlag: string,
  keyFile: string | undefined,
): { certFile: string; keyFile: string } | null {
  if (certFile === undefined && keyFile === undefined) return null;
  if (certFile === undefined || keyFile === undefined) {
    throw new ConfigError([`${certFlag} and ${keyFlag} must be given together`]);
  }
  return { certFile, keyFile };
}

/** Throws `ConfigError` for what only the gateway itself can tell is wrong. */
export function gatewayConfig(
  config: WithoutRedis<Omit<ConfigOf<'gateway'>, 'config' | 'workers'>>,
  defaultAddress?: (port: number) => string,
): Readonly<GatewayConfig> {
  const { port } = config;
  const tls = tlsFiles('--tls-cert', config.tlsCert, '--tls-key', config.tlsKey);
  const address = config.address ?? defaultAddress?.(port);
  const metricsPort = port === 0 || port + 1_000 > 65_535 ? 0 : port + 1_000;
  try {
    return parseGatewayConfig({
      name: config.name,
      host: config.host,
      tls,
      metricsHost: config.metricsHost,
      metricsPort: config.metricsPort ?? metricsPort,
      heartbeatIntervalMs: config.heartbeatInterval,
      handshakeTimeoutMs: config.handshakeTimeout,
      maxUnauthenticated: config.maxUnauthenticated,
      admissionsPerSecond: config.admissionsPerSecond,
      maxBackpressureBytes: config.maxBackpressure,
      drainPerSecond: config.drainPerSecond,
      maxTunnels: config.maxTunnels,
      canary: config.canary === 'on',
      initial: {
        group: config.gatewayGroup,
        port,
        connectionLimit: config.connectionLimit,
        ...(address === undefined ? {} : { address }),
      },
    });
  } catch (error) {
    if (error instanceof GatewayConfigError) throw new ConfigError(error.problems);
    throw error;
  }
}

export function gatewayPart(
  config: Readonly<GatewayConfig>,
  bus: Bus,
  log: Logger,
  stopDeadlineMs: number,
): { worker: GatewayWorker; part: Part } {
  const worker = new GatewayWorker({ config, bus, log, version: version() });
  // A quarter is left for the parts that stop after it.
  const stop = (): Promise<void> => worker.stop({ deadlineMs: stopDeadlineMs * 0.75 });
  return { worker, part: { name: 'gateway', start: () => worker.start(), stop } };
}

const REGISTRATION_LIMIT_MS = 15_000;

/**
 * Waits until the administration server of this process knows the gateway: devices that enrol earlier would be told of
 * none.
 */
export function registrationPart(name: string, bus: Bus): Part {
  const stopped = new AbortController();
  return {
    name: 'registration of the gateway',
    async start() {
      const deadline = Date.now() + REGISTRATION_LIMIT_MS;
      while (!(await bus.directory.gateways()).some((gateway) => gateway.name === name)) {
        if (stopped.signal.aborted) return;
        if (Date.now() > deadline) throw new Error(`gateway ${name} was not registered in time`);
        await pause(20, undefined, { signal: stopped.signal }).catch(() => undefined);
      }
    },
    async stop() {
      stopped.abort();
    },
  };
}
