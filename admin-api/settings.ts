/** Settings of an administration server, and their defaults. */
import { TUNNEL_DEFAULTS } from '../protocol/index.ts';
import type { TunnelSettings } from './services/tunnel-service.ts';

const DAY_MS = 86_400_000;

export interface AdminConfig extends Partial<Omit<AdminSettings, 'tunnels'>> {
  /** Interface and port of the HTTP API; port 0 takes a free one. */
  host: string;
  port: number;
  /** Version of the program, shown in the API. */
  version: string;
  /** PEM files; plain HTTP when absent. */
  tls?: { certFile: string; keyFile: string };
  /** Addresses or ranges of reverse proxies whose `X-Forwarded-For` is believed; none when absent. */
  trustProxy?: string[];
  /** Path below which a proxy serves the API; the root when absent. */
  basePath?: string;
  /** Origins whose pages may be devices, or `*`; none when absent. */
  allowedOrigins?: string[];
  tunnels?: Partial<TunnelSettings>;
}

/** Times in milliseconds. */
export interface AdminSettings {
  /** Sent and not acknowledged for this long: sent again. */
  resendAfterMs: number;
  /** Most devices moved a second to spread the load, 0 for none. */
  balanceMovesPerSecond: number;
  /** How often each gateway worker's canary gets a no-op, 0 for never. */
  canaryIntervalMs: number;
  /** How long an end waits for a lost worker that may have heard from the device. */
  gatewayPatienceMs: number;
  /** How long finished commands and ended tunnels stay recorded. */
  keepCommandsMs: number;
  /** How long events stay available for resuming, and at most how many. */
  keepEventsMs: number;
  keepEvents: number;
  /** How often leases, overdue executions and tunnels are checked. */
  leasesIntervalMs: number;
  overdueIntervalMs: number;
  tunnelsIntervalMs: number;
  /** How long a worker may lack a lease before its tunnels count as ended. */
  leaseBackMs: number;
  /** How long devices that were away at the start are asked about open executions. */
  recheckForMs: number;
  /** Commands for devices that are known as cloned wait. */
  holdCloned: boolean;
  tunnels: TunnelSettings;
}

const DEFAULTS: AdminSettings = {
  resendAfterMs: 30_000,
  balanceMovesPerSecond: 100,
  canaryIntervalMs: 15_000,
  gatewayPatienceMs: 300_000,
  keepCommandsMs: 30 * DAY_MS,
  keepEventsMs: DAY_MS,
  keepEvents: 200_000,
  leasesIntervalMs: 1_000,
  overdueIntervalMs: 1_000,
  tunnelsIntervalMs: 1_000,
  leaseBackMs: 3_000,
  recheckForMs: 6 * 3_600_000,
  holdCloned: false,
  tunnels: { perDevice: 8, perOperator: 32, ...TUNNEL_DEFAULTS },
};

/** Missing settings have their defaults. */
export function adminSettings(
  config: Partial<Omit<AdminConfig, 'host' | 'port' | 'version'>>,
): AdminSettings {
  return { ...DEFAULTS, ...config, tunnels: { ...DEFAULTS.tunnels, ...config.tunnels } };
}
