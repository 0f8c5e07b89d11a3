/** Builds the parts of a gateway from settings. `Assembly` starts them. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Bus } from '../../bus/bus.ts';
import type { Certificates } from '../../bus/tls/certificates.ts';
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
import { tlsFiles, type WithoutRedis } from './program-settings.ts';

/** Settings of the program around the workers. */
type NotOfWorkers = 'config' | 'workers' | 'joinToken' | 'joinTokenFile' | 'installation';

/** Throws `ConfigError` for errors that only the gateway itself can detect. */
export function gatewayConfig(
  config: WithoutRedis<Omit<ConfigOf<'gateway'>, NotOfWorkers>>,
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
      maxUnauthenticatedPerAddress: config.maxUnauthenticatedPerAddress,
      ...(config.sharedAddresses === undefined ? {} : { sharedAddresses: config.sharedAddresses }),
      upgradesPerSecond: config.upgradesPerSecond,
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
  { bus, log, certificates }: { bus: Bus; log: Logger; certificates: Certificates },
  stopDeadlineMs: number,
): { worker: GatewayWorker; part: Part } {
  const worker = new GatewayWorker({ config, bus, log, certificates, version: version() });
  // A quarter of the time is left for the parts that stop after it.
  const stop = (): Promise<void> => worker.stop({ deadlineMs: stopDeadlineMs * 0.75 });
  return { worker, part: { name: 'gateway', start: () => worker.start(), stop } };
}

const REGISTRATION_LIMIT_MS = 15_000;

/**
 * Waits until the administration server of this process has registered the gateway: devices that enrol
 * earlier would get an empty list.
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
