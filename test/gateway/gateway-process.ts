/**
 * A whole gateway as its own processes over a Redis of the test's own, with a directory that the test writes.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import type { DirectoryGateway, Lease } from '../../bus/bus.ts';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { IdentityFiles } from '../../gateway/joining/identity-files.ts';
import type { GatewayReadiness } from '../../gateway/supervisor/supervisor.ts';
import { credentialsOf, gatewayKeys } from '../bus/mac-keys.ts';
import { fingerprintOf } from '../server-keys.ts';
import { type Program, startCli } from '../services/processes.ts';
import { type RedisServer, startRedis } from '../services/redis.ts';
import { freePort, waitFor } from '../wait.ts';
import { INSTALLATION, writeDirectory } from '../write-directory.ts';
import {
  connectDevice,
  directoryDevice,
  type Identity,
  makeIdentity,
  type RawDevice,
  ROOT_KEY,
  SERVER_KEYS,
} from './raw-device.ts';

export const GROUP = 'root';

/** As if the gateway had joined. */
function keepIdentity(dataDir: string): void {
  const folder = join(dataDir, 'gateways', 'gw1');
  mkdirSync(folder, { recursive: true });
  const [issuedAt, expiresAt] = [Date.now(), Date.now() + 86_400_000];
  const certificate = { privateKey: '', certificate: '', authorities: [], trusts: '1' };
  const installation = { ...INSTALLATION, seal: '' };
  const fingerprint = fingerprintOf(ROOT_KEY);
  const times = { issuedAt, expiresAt };
  new IdentityFiles(folder).keep({
    ...credentialsOf('gw1'),
    ...certificate,
    ...times,
    fingerprint,
    installation,
  });
}

export class GatewayProcess {
  readonly bus: RedisBus;
  readonly program: Program;
  readonly settings: DirectoryGateway;
  readonly #redis: RedisServer;
  readonly #dataDir: string;
  readonly #metricsPort: number;
  #devices = 0;

  private constructor(
    dataDir: string,
    redis: RedisServer,
    bus: RedisBus,
    program: Program,
    settings: DirectoryGateway,
    metricsPort: number,
  ) {
    this.#dataDir = dataDir;
    this.#redis = redis;
    this.bus = bus;
    this.program = program;
    this.settings = settings;
    this.#metricsPort = metricsPort;
  }

  /** Resolves once all `workers` serve. */
  static async start(
    workers: number,
    settings: Partial<DirectoryGateway> = {},
    flags: readonly string[] = [],
  ): Promise<GatewayProcess> {
    const redis = await startRedis();
    const dataDir = mkdtempSync(join(tmpdir(), 'gateway-process-'));
    keepIdentity(dataDir);
    const keys = { gatewayKeys: gatewayKeys() };
    const bus = new RedisBus({ url: redis.url, log: pino({ level: 'silent' }), ...keys });
    await bus.start();
    const [port, metricsPort] = [await freePort(), await freePort()];
    const gateway: DirectoryGateway = {
      name: 'gw1',
      group: GROUP,
      runPushServer: true,
      port,
      address: `ws://127.0.0.1:${port}`,
      connectionLimit: 1_000,
      revision: 1,
      draining: false,
      weight: 1_000,
      told: { port, address: `ws://127.0.0.1:${port}` },
      former: [],
      keys: [SERVER_KEYS],
      ...settings,
    };
    await writeDirectory(bus);
    await bus.directory.putGateways([gateway]);
    const program = startCli([
      ...[
        'gateway',
        '--name',
        'gw1',
        '--host',
        '127.0.0.1',
        '--gateway-group',
        GROUP,
        '--redis-url',
        redis.url,
      ],
      ...['--data-dir', dataDir],
      ...['--workers', String(workers), '--port', String(port), '--metrics-port', String(metricsPort)],
      ...flags,
    ]);
    const started = new GatewayProcess(dataDir, redis, bus, program, gateway, metricsPort);
    try {
      await started.until(
        ({ workers: all }) => all.filter((worker) => worker.port === port).length === workers,
      );
      return started;
    } catch (error) {
      await started.stop();
      throw error;
    }
  }

  /** Ends what was started, if it is still there. */
  async stop(): Promise<void> {
    await this.program.stop();
    await this.bus.stop();
    await this.#redis.stop();
    rmSync(this.#dataDir, { recursive: true, force: true });
  }

  async readiness(): Promise<GatewayReadiness & { status: number }> {
    const answer = await fetch(`http://127.0.0.1:${this.#metricsPort}/ready`);
    return { ...((await answer.json()) as GatewayReadiness), status: answer.status };
  }

  /** Waits until `/ready` says what fits. */
  until(fits: (readiness: GatewayReadiness & { status: number }) => boolean): Promise<GatewayReadiness> {
    let seen: GatewayReadiness | undefined;
    return waitFor(
      async () => {
        const now = await this.readiness();
        seen = now;
        return fits(now) && now;
      },
      { timeoutMs: 15_000, intervalMs: 25, what: 'the gateway' },
    ).catch((error: unknown) => {
      throw new Error(`the gateway says ${JSON.stringify(seen)}`, { cause: error });
    });
  }

  async metrics(): Promise<string> {
    return (await fetch(`http://127.0.0.1:${this.#metricsPort}/metrics`)).text();
  }

  async put(change: Partial<DirectoryGateway>): Promise<void> {
    const { revision, port: portBefore, address: addressBefore } = this.settings;
    const { port = portBefore, address = addressBefore } = change;
    Object.assign(this.settings, { told: { port, address } }, change, { revision: revision + 1 });
    await this.bus.directory.putGateways([this.settings]);
  }

  async leases(): Promise<Lease[]> {
    const leases = await this.bus.leases.list();
    return leases.sort((a, b) => (a.identity.worker < b.identity.worker ? -1 : 1));
  }

  async enrol(): Promise<Identity> {
    const identity = makeIdentity(`device-${++this.#devices}`);
    await this.bus.directory.putDevices([directoryDevice(identity, [GROUP])]);
    return identity;
  }

  /** New devices, connected one after the other to the port. */
  async connect(count: number, port = this.settings.port): Promise<RawDevice[]> {
    const devices: RawDevice[] = [];
    for (let i = 0; i < count; i++) {
      devices.push((await connectDevice(`ws://127.0.0.1:${port}/`, await this.enrol())).device);
    }
    return devices;
  }
}

/** Runs `body` with a gateway that serves, and ends everything whatever happens. */
export async function withGateway(
  workers: number,
  body: (gateway: GatewayProcess) => Promise<void>,
  settings: Partial<DirectoryGateway> = {},
  flags: readonly string[] = [],
): Promise<void> {
  const gateway = await GatewayProcess.start(workers, settings, flags);
  try {
    await body(gateway);
  } finally {
    await gateway.stop();
  }
}
