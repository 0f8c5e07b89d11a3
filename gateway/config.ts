/**
 * Configuration of one gateway worker: validated once at start, then frozen. Settings that operators change
 * at run time (group, port, limit) come through the directory; `initial` only holds their first values.
 */
import os from 'node:os';
import { AddressList } from '../bus/addresses.ts';
import type { GatewaySettings } from '../bus/bus.ts';
import { ID_PATTERN, LIMITS, TUNNEL_LIMITS } from '../protocol/index.ts';

export interface GatewayConfig {
  /** Name of the gateway (distribution point), an identifier (F-6). */
  name: string;
  /** Number of this worker process in the gateway; `<name>/<workerNumber>` is the worker's name. */
  workerNumber: number;
  /** Workers of the gateway; they divide its limits among themselves. */
  workers: number;
  /** Interface to listen on. */
  host: string;
  /** Initial settings; those in the directory replace them as soon as there are any. Port 0: a free port. */
  initial: GatewaySettings;
  /** Port that sibling workers already serve, used when the configured port is unavailable; 0: none. */
  fallbackPort: number;
  /** PEM files; `null` serves without TLS (behind a proxy, or on loopback). */
  tls: { certFile: string; keyFile: string } | null;
  /** Port of `/live`, `/ready` and `/metrics`; 0: a free port, `null`: none. */
  metricsPort: number | null;
  metricsHost: string;
  /** Heartbeat interval for devices, milliseconds; a silence of 2.5 intervals closes the session (B-4). */
  heartbeatIntervalMs: number;
  /** Time limit from accept to a valid `prove`, or to a leg's valid ticket, milliseconds (H-8). */
  handshakeTimeoutMs: number;
  /** Most sockets of the whole gateway, of any kind, that are accepted and not yet authenticated. */
  maxUnauthenticated: number;
  /** Of these, most from one address; from its prefix (IPv4 /24, IPv6 /64) twice as many. */
  maxUnauthenticatedPerAddress: number;
  /**
   * Addresses and CIDR prefixes of proxies, separated by commas: many devices share them, so no per-address
   * limit applies.
   */
  sharedAddresses: string;
  /** Upgrades and probes a worker accepts per second, averaged over two seconds. */
  upgradesPerSecond: number;
  /** Bytes that may wait for one slow reader before its connection is closed. */
  maxBackpressureBytes: number;
  /** Frames one device may send per second on average, and at once. */
  messagesPerSecond: number;
  messageBurst: number;
  /**
   * Bytes of frames that one device may send per second on average, and at once; results beyond it are
   * deferred (F-7).
   */
  bytesPerSecond: number;
  byteBurst: number;
  /** Time to live of the worker's lease, milliseconds. */
  leaseTtlMs: number;
  /** How often the outbox is read even without a hint, milliseconds. */
  outboxPollMs: number;
  /** How often the gateways' settings are read even without a hint, milliseconds. */
  settingsPollMs: number;
  /** Receipts of one append, and the longest a receipt waits for others, milliseconds. */
  receiptBatch: number;
  receiptDelayMs: number;
  /** Most receipts, and most bytes of them, kept while the bus is unavailable. */
  receiptSpool: number;
  receiptSpoolBytes: number;
  /** Delay before a device resends a result that was refused, milliseconds. */
  resultRetryMs: number;
  /** How long a stored result of a group command waits for the device's heartbeat, milliseconds. */
  settledAloneMs: number;
  /** Sessions of the whole gateway sent away per second during a drain. */
  drainPerSecond: number;
  /** Whether the worker keeps a canary (canary.ts). */
  canary: boolean;
  /** Most tunnels of the whole gateway; 0: none. */
  maxTunnels: number;
  /** Bytes that may wait for the legs of one worker's tunnels, all together. */
  tunnelBufferBytes: number;
  /** Ping interval of a leg, milliseconds; two missed answers end it (T-5). */
  tunnelPingMs: number;
  /** How long to wait for a dropped leg, milliseconds (T-4). */
  tunnelHoldMs: number;
  /** How often figures of tunnels in use are reported, milliseconds. */
  tunnelCountersMs: number;
  /** Folder of Unix sockets by which workers pass legs to each other; `null`: they do not. */
  siblingDir: string | null;
}

export type GatewayConfigInput = Partial<Omit<GatewayConfig, 'initial' | 'name'>> & {
  name: string;
  initial: Partial<GatewaySettings> & { group: string };
};

const DEFAULT_PUSH_PORT = 13295;
const DEFAULT_METRICS_PORT = 13296;

const DEFAULTS: Omit<GatewayConfig, 'name' | 'initial'> = Object.freeze({
  workerNumber: 0,
  workers: 1,
  host: '0.0.0.0',
  fallbackPort: 0,
  tls: null,
  metricsPort: DEFAULT_METRICS_PORT,
  metricsHost: '127.0.0.1',
  heartbeatIntervalMs: 60_000,
  handshakeTimeoutMs: 10_000,
  maxUnauthenticated: 12_000,
  maxUnauthenticatedPerAddress: 3_000,
  sharedAddresses: '',
  upgradesPerSecond: 3_000,
  maxBackpressureBytes: 1024 * 1024,
  messagesPerSecond: 100,
  messageBurst: 200,
  bytesPerSecond: 64 * 1024,
  byteBurst: 1024 * 1024,
  leaseTtlMs: 10_000,
  outboxPollMs: 1_000,
  settingsPollMs: 5_000,
  receiptBatch: 500,
  receiptDelayMs: 20,
  receiptSpool: 100_000,
  receiptSpoolBytes: 128 * 1024 * 1024,
  resultRetryMs: 30_000,
  settledAloneMs: 60_000,
  drainPerSecond: 1_000,
  canary: false,
  maxTunnels: 500,
  tunnelBufferBytes: 256 * 1024 * 1024,
  tunnelPingMs: TUNNEL_LIMITS.pingMs,
  tunnelHoldMs: TUNNEL_LIMITS.holdMs,
  tunnelCountersMs: 10_000,
  siblingDir: null,
});

/** All errors of a configuration, one line each. */
export class GatewayConfigError extends Error {
  override readonly name = 'GatewayConfigError';
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(`gateway configuration: ${problems.join('; ')}`);
    this.problems = problems;
  }
}

/** Numbers and the range each must be in. */
const RANGES: [keyof GatewayConfig, number, number][] = [
  ['workerNumber', 0, 1_023],
  ['workers', 1, 1_024],
  ['fallbackPort', 0, 65_535],
  ['heartbeatIntervalMs', LIMITS.heartbeatMinMs, LIMITS.heartbeatMaxMs],
  ['handshakeTimeoutMs', 100, 60_000],
  ['maxUnauthenticated', 1, 1_000_000],
  ['maxUnauthenticatedPerAddress', 1, 1_000_000],
  ['upgradesPerSecond', 1, 1_000_000],
  ['maxBackpressureBytes', LIMITS.frameBytes, 1024 * 1024 * 1024],
  ['messagesPerSecond', 1, 100_000],
  ['messageBurst', 1, 1_000_000],
  ['bytesPerSecond', 1_024, 1_000_000_000],
  ['byteBurst', LIMITS.frameBytes, 1_000_000_000],
  ['leaseTtlMs', 300, 600_000],
  ['outboxPollMs', 10, 60_000],
  ['settingsPollMs', 10, 600_000],
  ['receiptBatch', 1, 10_000],
  ['receiptDelayMs', 0, 1_000],
  ['receiptSpool', 1, 10_000_000],
  ['receiptSpoolBytes', 1024, Number.MAX_SAFE_INTEGER],
  ['resultRetryMs', LIMITS.retryMinMs, LIMITS.retryMaxMs],
  ['settledAloneMs', 0, 60_000],
  ['drainPerSecond', 1, 1_000_000],
  ['maxTunnels', 0, 100_000],
  ['tunnelBufferBytes', 1024 * 1024, Number.MAX_SAFE_INTEGER],
  ['tunnelPingMs', 20, 3_600_000],
  ['tunnelHoldMs', 20, 3_600_000],
  ['tunnelCountersMs', 20, 3_600_000],
];

function rangeProblem(what: string, value: unknown, min: number, max: number): string[] {
  const fits = typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
  return fits ? [] : [`${what} must be an integer from ${min} to ${max}, not ${String(value)}`];
}

function settingsProblems(settings: GatewaySettings): string[] {
  const problems = [
    ...rangeProblem('initial.port', settings.port, 0, 65_535),
    ...rangeProblem('initial.connectionLimit', settings.connectionLimit, 1, 10_000_000),
  ];
  if (!ID_PATTERN.test(settings.group)) problems.push('initial.group must be an identifier');
  if (!/^wss?:\/\/\S+$/.test(settings.address) || settings.address.length > LIMITS.urlLength) {
    problems.push(`initial.address must be a ws:// or wss:// URL, not ${settings.address}`);
  }
  return problems;
}

/** Fills in defaults, checks and freezes. Throws `GatewayConfigError` naming everything that is wrong. */
export function parseGatewayConfig(input: GatewayConfigInput): Readonly<GatewayConfig> {
  const given = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
  const scheme = input.tls ? 'wss' : 'ws';
  const port = input.initial?.port ?? DEFAULT_PUSH_PORT;
  const initial: GatewaySettings = Object.freeze({
    runPushServer: true,
    connectionLimit: 50_000,
    address: `${scheme}://${os.hostname()}:${port}`,
    ...input.initial,
    port,
  });
  const config = { ...DEFAULTS, ...given, initial } as GatewayConfig;

  const problems = RANGES.flatMap(([key, min, max]) => rangeProblem(key, config[key], min, max));
  problems.push(...settingsProblems(initial));
  if (!ID_PATTERN.test(config.name)) problems.push('name must be an identifier');
  try {
    new AddressList(config.sharedAddresses);
  } catch (error) {
    problems.push(`sharedAddresses: ${(error as Error).message}`);
  }
  if (typeof config.host !== 'string' || config.host === '') problems.push('host must not be empty');
  if (config.metricsPort !== null) {
    problems.push(...rangeProblem('metricsPort', config.metricsPort, 0, 65_535));
  }
  if (config.workerNumber >= config.workers) problems.push('workerNumber must be below workers');
  if (config.messageBurst < config.messagesPerSecond) {
    problems.push('messageBurst must not be below messagesPerSecond');
  }
  if (config.tls && !(config.tls.certFile && config.tls.keyFile)) {
    problems.push('tls needs both certFile and keyFile');
  }
  if (problems.length > 0) throw new GatewayConfigError(problems);
  return Object.freeze(config);
}

/** This worker's integer part of a limit of the whole gateway; the parts add up to `total`. */
export function shareOf(total: number, { workers, workerNumber }: GatewayConfig): number {
  return Math.floor(total / workers) + (workerNumber < total % workers ? 1 : 0);
}

/** Silence after which a device counts as gone, milliseconds (B-4). */
export function heartbeatTimeoutMs(config: GatewayConfig): number {
  return config.heartbeatIntervalMs * 2.5;
}

/**
 * uWebSockets' own idle timeout, seconds: only a backstop behind the heartbeat sweep and for sockets whose
 * peer never answers a close. It accepts 8 to 960 and aborts the process otherwise, so longer values are
 * capped: pings keep a live socket open.
 */
export function idleTimeoutSeconds(config: GatewayConfig): number {
  return Math.min(960, Math.max(8, Math.ceil(heartbeatTimeoutMs(config) / 4_000) * 4 + 16));
}

/** The period of the one timer behind all time limits, milliseconds. */
export function tickMs(config: GatewayConfig): number {
  return Math.min(
    1_000,
    Math.max(20, Math.min(config.heartbeatIntervalMs / 20, config.handshakeTimeoutMs / 10)),
  );
}
