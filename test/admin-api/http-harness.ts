/** The administration server's HTTP API on a real socket, over a real SQLite store and the in-process bus. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import pino from 'pino';
import { composeHttp } from '../../admin-api/compose-http.ts';
import { createHttpServer } from '../../admin-api/http/http-server.ts';
import type { HttpOptions, HttpServices } from '../../admin-api/http/services.ts';
import type { Role } from '../../admin-api/store/records.ts';
import type { TunnelReceipt } from '../../admin-api/tunnels/tunnel-reports.ts';
import { enrolRequest, readEnrolled } from '../enrolment.ts';
import { waitFor } from '../wait.ts';
import { AnswerChecker } from './answer-checker.ts';
import { composed } from './composed.ts';

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

/** The request of a device that enrols, as JSON. */
export async function enrolBody(token: string, keys: DeviceKeys, more: object = {}): Promise<object> {
  return (await enrolRequest(token, keys, { ...more })).json;
}

export async function startHttp(
  options: Partial<HttpOptions> = {},
  change: (services: HttpServices) => Partial<HttpServices> = () => ({}),
) {
  const logged: string[] = [];
  const clock = { offsetMs: 0 };
  const parts = await composed({
    log: pino({ level: 'warn' }, { write: (line: string) => logged.push(line) }),
    now: () => Date.now() + clock.offsetMs,
    config: {
      leasesIntervalMs: 20,
      tunnelsIntervalMs: 20,
      leaseBackMs: 200,
      keepCommandsMs: 3_600_000,
      tunnels: { perDevice: 2, perOperator: 3 },
    },
  });
  const { store, bus, dataDir } = parts;
  const {
    leases: workers,
    directory: projector,
    hub,
    dispatcher,
    signer,
    serverKeys,
    storeWatch,
    keeper,
    finalizer,
  } = parts;
  await workers.start(() => {});
  await projector.start();
  await hub.start();
  finalizer.start();
  keeper.start();
  await storeWatch.start();
  /** What a worker says of tunnels, as ingest records it. */
  async function tunnelsSaid(receipts: TunnelReceipt[]): Promise<void> {
    await parts.tunnelIngest.prepare(receipts);
    const applied = await store.transaction((tx) => parts.tunnelIngest.write(tx, receipts, parts.now()));
    await parts.tunnelIngest.followUp(applied);
  }
  const services = composeHttp(parts);
  const { groups, tokens } = services;
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
    const asked = await enrolBody(token, keys, more);
    return readEnrolled((await call('POST', '/v1/enroll', { as: null, body: asked })).body).deviceId;
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

  /** Every event that a test caused is held against the OpenAPI document as well. */
  async function checkEvents(): Promise<void> {
    for (const { type, at, data } of await store.events.after(0, 100_000)) {
      // Made up by a test of the stream itself.
      if (type === 'test') continue;
      checker.checkEvent({ event: type, at: new Date(at).toISOString(), ...(data as object) });
    }
  }

  async function stop() {
    await app.close();
    await checkEvents();
    await storeWatch.stop();
    await groups.stop();
    await keeper.stop();
    await finalizer.stop();
    await workers.stop();
    await parts.expander.stop();
    await dispatcher.stop();
    await hub.stop();
    await projector.stop();
    await parts.stop();
  }

  return {
    app,
    joinAnswers: parts.joinAnswers,
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
    serverKeys,
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
