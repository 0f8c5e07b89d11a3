/** The administration server's HTTP API on a real socket, over a real SQLite store and the in-process bus. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import pino from 'pino';
import { Registry } from 'prom-client';
import { coverageOf } from '../../admin-api/balance/coverage.ts';
import { explainPlacement } from '../../admin-api/balance/explain-placement.ts';
import { BestEffortSender } from '../../admin-api/best-effort-sender.ts';
import { DirectoryProjector } from '../../admin-api/directory/projector.ts';
import { CommandFrames } from '../../admin-api/dispatch/command-frames.ts';
import { Dispatcher } from '../../admin-api/dispatch/dispatcher.ts';
import { Expander } from '../../admin-api/dispatch/expander.ts';
import { explain } from '../../admin-api/dispatch/explain.ts';
import { EventHub } from '../../admin-api/event-hub.ts';
import { Health } from '../../admin-api/health/health.ts';
import { StoreWatch } from '../../admin-api/health/store-watch.ts';
import { createHttpServer } from '../../admin-api/http/http-server.ts';
import type { HttpOptions, HttpServices } from '../../admin-api/http/services.ts';
import { loadInstallation } from '../../admin-api/installation.ts';
import { Ends } from '../../admin-api/ledger/ends.ts';
import { Frontier } from '../../admin-api/ledger/frontier.ts';
import { LiveWorkers } from '../../admin-api/live-workers.ts';
import { createAdminMetrics } from '../../admin-api/metrics.ts';
import { OrderSigner } from '../../admin-api/order-signer.ts';
import { Outcomes } from '../../admin-api/outcomes.ts';
import { CommandService } from '../../admin-api/services/command-service.ts';
import { DeviceService } from '../../admin-api/services/device-service.ts';
import { EnrolmentService } from '../../admin-api/services/enrolment-service.ts';
import { GatewayService } from '../../admin-api/services/gateway-service.ts';
import { GroupService } from '../../admin-api/services/group-service.ts';
import { LocateService } from '../../admin-api/services/locate-service.ts';
import { TokenService } from '../../admin-api/services/token-service.ts';
import { TunnelService } from '../../admin-api/services/tunnel-service.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import type { Role } from '../../admin-api/store/records.ts';
import { TunnelEndings } from '../../admin-api/tunnels/tunnel-endings.ts';
import { TunnelIngest } from '../../admin-api/tunnels/tunnel-ingest.ts';
import { TunnelKeeper } from '../../admin-api/tunnels/tunnel-keeper.ts';
import type { TunnelReceipt } from '../../admin-api/tunnels/tunnel-reports.ts';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { Loops } from '../../health/health.ts';
import { enrolBytes, TUNNEL_DEFAULTS } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import { AnswerChecker } from './answer-checker.ts';

export interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  body: any;
}

export interface CallOptions {
  /** Role whose token is sent, a token itself, or `null` for none; admin when absent. */
  as?: Role | string | null;
  body?: unknown;
  /** Sent as it is instead of `body`. */
  text?: string;
  headers?: Record<string, string>;
}

export interface DeviceKeys {
  publicKey: Buffer;
  privateKey: KeyObject;
}

export function makeDeviceKeys(): DeviceKeys {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  return { publicKey: Buffer.from(publicKey.export({ format: 'jwk' }).x as string, 'base64url'), privateKey };
}

export function enrolBody(token: string, { publicKey, privateKey }: DeviceKeys, more: object = {}): object {
  const proof = sign(null, enrolBytes(token, publicKey), privateKey);
  return {
    token,
    publicKey: publicKey.toString('base64url'),
    proof: proof.toString('base64url'),
    name: 'kiosk',
    platform: 'linux-x64',
    software: 'test/1',
    ...more,
  };
}

export async function startHttp(
  options: Partial<HttpOptions> = {},
  change: (services: HttpServices) => Partial<HttpServices> = () => ({}),
) {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'pushpoint-http-'));
  const logged: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => logged.push(line) });
  const store = openStore({ dataDir, checkNesting: true, log });
  await store.start();
  const bus = new MemoryBus({ log });
  await bus.start();
  const clock = { offsetMs: 0 };
  const now = () => Date.now() + clock.offsetMs;
  const installation = await loadInstallation(store.meta);
  await bus.owner.claim(installation);
  const signer = await OrderSigner.load(store.meta);
  const workers = new LiveWorkers(bus, log, 20);
  await workers.start(() => {});
  const projector = new DirectoryProjector({ store, bus, signer, leases: workers, log });
  await projector.start();
  const hub = new EventHub(store.events, log);
  await hub.start();
  const outcomes = new Outcomes(store, hub, now);
  const frames = new CommandFrames(signer);
  const registry = new Registry();
  const metrics = createAdminMetrics(registry);
  const dispatcher = new Dispatcher({ store, bus, frames, outcomes, metrics, log, now });
  const expander = new Expander({ store, dispatcher, outcomes, log, now });
  const sender = new BestEffortSender(bus, log);
  const frontier = new Frontier({ store, bus, now, log, patienceMs: 300_000 });
  const ends = new Ends({ store, frontier, outcomes, sender, frames, metrics, now, log });
  ends.start();
  const parts = { store, directory: projector, leases: workers, sender, hub, now, log };
  const tunnelParts = { store, bus, dispatcher, hub, metrics, now, log };
  const endings = new TunnelEndings(tunnelParts);
  const keeper = new TunnelKeeper(
    { ...tunnelParts, endings, leases: workers },
    { intervalMs: 20, keepMs: 3_600_000, leaseBackMs: 200 },
  );
  keeper.start();
  const tunnelIngest = new TunnelIngest(endings, keeper, workers);
  /** What a worker says of tunnels, as ingest puts it on record. */
  async function tunnelsSaid(receipts: TunnelReceipt[]): Promise<void> {
    await tunnelIngest.prepare(receipts);
    const applied = await store.transaction((tx) => tunnelIngest.write(tx, receipts, now()));
    await tunnelIngest.followUp(applied);
  }
  const groups = new GroupService(parts);
  const tokens = new TokenService({ store, now });
  const storeWatch = new StoreWatch(store, log);
  await storeWatch.start();
  const services: HttpServices = {
    store,
    bus,
    directory: {
      get state() {
        return projector.state;
      },
      installation,
    },
    storeWatch,
    health: new Health({ bus, store: storeWatch, loops: new Loops(60) }),
    explain: (device, command) => explain({ store, bus, workers, resendAfterMs: 30_000 }, device, command),
    commands: new CommandService({ store, dispatcher, expander, outcomes, ends, sender, frames, hub, now }),
    placement: (device) => explainPlacement(parts, device),
    coverage: () => coverageOf(parts),
    groups,
    devices: new DeviceService({ ...parts, outcomes, ends, dispatcher }),
    enrolment: new EnrolmentService({ ...parts, signer, installation }),
    locate: new LocateService({ ...parts, signer }),
    gateways: new GatewayService(parts),
    tunnels: new TunnelService(
      { ...tunnelParts, endings, directory: projector, leases: workers },
      { perDevice: 2, perOperator: 3, ...TUNNEL_DEFAULTS },
    ),
    tokens,
    events: hub,
    registry,
    now,
    log,
  };
  const app: FastifyInstance = await createHttpServer(
    { ...services, ...change(services) },
    { version: '0.0.0-test', tokenCacheMs: 100, closeDeadlineMs: 500, ...options },
  );
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  const secrets: Record<Role, string> = { viewer: '', operator: '', admin: '' };
  await tokens.ensureFirst((token) => {
    secrets.admin = token;
  });
  for (const role of ['viewer', 'operator'] as const) {
    secrets[role] = (await tokens.create({ name: role, role }, 'test')).token;
  }
  const checker = new AnswerChecker(app.swagger());

  /** Every answer is held against the OpenAPI document. */
  async function call(
    method: string,
    route: string,
    { as = 'admin', body, text, headers = {} }: CallOptions = {},
  ) {
    const token = as === null ? undefined : (secrets[as as Role] ?? as);
    const sent = text ?? (body === undefined ? undefined : JSON.stringify(body));
    const response = await fetch(`${url}${route}`, {
      method,
      headers: {
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(sent !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(sent !== undefined && { body: sent }),
    });
    const received = await response.text();
    const isJson = (response.headers.get('content-type') ?? '').includes('json');
    const answer: Answer = {
      status: response.status,
      headers: response.headers,
      body: isJson && method !== 'HEAD' ? JSON.parse(received) : received,
    };
    checker.check(method, route, answer);
    return answer;
  }

  async function enrol(groupId = 'all', more: object = {}, keys = makeDeviceKeys()): Promise<string> {
    const { token } = (await call('POST', '/v1/enrolment-tokens', { body: { groupId } })).body;
    const { body } = await call('POST', '/v1/enroll', { as: null, body: enrolBody(token, keys, more) });
    return body.deviceId;
  }

  /** A gateway at whose address a worker listened, so that devices are told of it; it is down again. */
  async function serves(name: string, address: string, groupId = 'all'): Promise<void> {
    const { port } = new URL(address);
    await call('POST', '/v1/gateways', { body: { name, address, groupId, port: Number(port) } });
    const settings = { group: groupId, runPushServer: true, port: Number(port), address, connectionLimit: 1 };
    const identity = {
      worker: `${name}/0`,
      gateway: name,
      host: 'h',
      pid: 1,
      version: '1',
      initial: settings,
    };
    const figures = { admissionRate: 0, bufferedBytes: 0, memoryBytes: 1, cpu: 0 };
    const load = { connections: 0, limit: 1, revision: 1, port: Number(port), ...figures };
    const incarnation = await bus.leases.acquire(identity, load, 60_000);
    await waitFor(() => {
      projector.gatewaysChangedSoon();
      return projector.toldOf(name);
    });
    await bus.leases.release(incarnation);
  }

  async function stop() {
    await app.close();
    await storeWatch.stop();
    await groups.stop();
    await keeper.stop();
    await ends.stop();
    await workers.stop();
    await expander.stop();
    await dispatcher.stop();
    await hub.stop();
    await projector.stop();
    await bus.stop();
    await store.stop();
    await rm(dataDir, { recursive: true, force: true });
  }

  return {
    app,
    url,
    call,
    enrol,
    serves,
    tunnelsSaid,
    /** Sends nothing until it is started. */
    dispatcher,
    stop,
    store,
    bus,
    hub,
    projector,
    signer,
    workers,
    tokens,
    services,
    secrets,
    clock,
    dataDir,
    logged,
    checker,
  };
}

export type Http = Awaited<ReturnType<typeof startHttp>>;
