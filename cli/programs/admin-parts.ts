/** Builds the parts of an administration server from settings. `Assembly` starts them, in this order. */
import { randomBytes } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import type { Logger } from 'pino';
import { AdminServer } from '../../admin-api/admin-server.ts';
import { secretBox } from '../../admin-api/at-rest/key-file.ts';
import type { SecretBox } from '../../admin-api/at-rest/secret-box.ts';
import { loadEpochMac } from '../../admin-api/epoch-mac.ts';
import { loadInstallation } from '../../admin-api/installation.ts';
import { carriedKeys } from '../../admin-api/keys/carried-keys.ts';
import { ServerKeys } from '../../admin-api/keys/server-keys.ts';
import type { GatewayKeyRing } from '../../admin-api/pki/gateway-key-ring.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import { DatabaseLock } from '../../admin-api/store/sql/database-lock.ts';
import type { Store } from '../../admin-api/store/store.ts';
import { StoreSettingsError } from '../../admin-api/store/store-settings-error.ts';
import type { Bus } from '../../bus/bus.ts';
import type { Certificates } from '../../bus/tls/certificates.ts';
import { makeFolder } from '../../device/storage/file-mode.ts';
import { ID_PATTERN } from '../../protocol/index.ts';
import { ConfigError } from '../config/load.ts';
import type { ConfigOf } from '../config/options.ts';
import { version } from '../version.ts';
import { usableFolder } from './folders.ts';
import type { Part } from './lifecycle.ts';
import { tlsFiles, type WithoutRedis } from './program-settings.ts';
import type { WaitingPlace, WaitingRoom } from './waiting-room.ts';

/** Settings of a server that joins another one; `server-joining.ts` reads them. */
type OfJoining = 'serverName' | 'joinToken' | 'joinTokenFile' | 'installation';
type AdminSettings = WithoutRedis<Omit<ConfigOf<'admin'>, 'config' | 'joinTokens' | OfJoining>> & {
  joinTokens?: string | undefined;
};

/** The parts that an administration server shares with the rest of its program. */
export interface AdminSurroundings {
  bus: Bus;
  room: WaitingRoom;
  log: Logger;
  certificates: Certificates;
  /** The keys by which the bus accepts gateways; absent if they run in this process. */
  gatewayKeys?: GatewayKeyRing;
  /** Of a server that joined; called when the parts start. Absent: the settings name the key. */
  box?: () => SecretBox;
}

export interface AdminParts {
  parts: Part[];
  store: Store;
  /** Of the HTTP API, once started. */
  readonly port: number;
  /** Where the first start on an empty database writes the first admin token. */
  tokenFile: string;
}

/** The waiting room of an administration server, on the port of its API. */
export function waitingPlace(config: AdminSettings): WaitingPlace {
  return { host: config.apiHost, port: config.apiPort, tls: apiTls(config) };
}

function apiTls(config: AdminSettings) {
  return tlsFiles('--api-tls-cert', config.apiTlsCert, '--api-tls-key', config.apiTlsKey);
}

/**
 * The store and the administration server. Creates the data folder, for this user only. Throws `ConfigError`.
 */
export function adminParts(
  config: AdminSettings,
  { bus, room, log, certificates, gatewayKeys, box: joined }: AdminSurroundings,
): AdminParts {
  const tls = apiTls(config);
  const dataDir = resolve(config.dataDir);
  usableFolder('--data-dir', dataDir);
  const store = storeOf(dataDir, config.databaseUrl, log, certificates);
  const tokenFile = join(dataDir, 'admin-token');
  const own = joined ? null : boxOf(config, dataDir);
  const box = () => own ?? (joined as () => SecretBox)();
  const serverConfig = {
    host: config.apiHost,
    port: config.apiPort,
    version: version(),
    keepCommandsMs: config.keepCommands,
    keepEventsMs: config.keepEvents,
    gatewayPatienceMs: config.gatewayPatience,
    balanceMovesPerSecond: config.balanceMovesPerSecond,
    holdCloned: config.clonedDevices === 'hold',
    tunnels: {
      perDevice: config.tunnelsPerDevice,
      perOperator: config.tunnelsPerOperator,
      idleMs: config.tunnelIdle,
      lifeMs: config.tunnelLife,
      maxBytes: config.tunnelMaxBytes,
    },
    canaryIntervalMs: config.canaryInterval,
    ...(config.basePath === undefined ? {} : { basePath: basePath(config.basePath) }),
    ...(config.trustProxy === undefined ? {} : { trustProxy: proxyList(config.trustProxy) }),
    ...(config.allowedOrigins === undefined ? {} : { allowedOrigins: originList(config.allowedOrigins) }),
    ...(tls === null ? {} : { tls }),
  };
  const firstGateways = {
    names: gatewayNames(config.joinTokens),
    keep: (gateway: string, token: string) => writeToken(joinTokenFile(dataDir, gateway), token),
  };
  let server: AdminServer | undefined;
  const build = () =>
    new AdminServer({
      config: serverConfig,
      store,
      bus,
      log,
      certificates,
      ...(gatewayKeys && { gatewayKeys }),
      secretBox: box(),
      keepFirstToken: (token) => writeToken(tokenFile, token),
      firstGateways,
    });
  const lock = config.databaseUrl === undefined ? new DatabaseLock(dataDir) : null;
  const parts: Part[] = [
    { name: 'lock of the database', start: async () => lock?.take(), stop: async () => lock?.release() },
    // Waiting does not help with a file that cannot be opened.
    room.untilThere(
      { name: 'store', start: () => store.start(), stop: () => store.stop() },
      'store',
      config.databaseUrl === undefined ? [] : ['StoreUnavailable'],
    ),
    // An older copy of the database: this server waits until `pushpoint restored` has begun an epoch.
    room.untilThere(
      {
        name: 'epoch',
        start: async () => {
          const epochMac = await loadEpochMac(store.meta, box());
          await bus.owner.claim(await loadInstallation(store.meta), epochMac);
        },
        stop: async () => {},
      },
      'epoch of the database',
      ['InstallationRestored'],
    ),
    // The root key is kept elsewhere: `pushpoint restored` has it sign the server keys.
    room.untilThere(
      {
        name: 'server keys',
        start: async () => {
          const { meta } = store;
          const [{ epoch }, carried] = [await loadInstallation(meta), await carriedKeys(bus)];
          await (await ServerKeys.load({ meta, box: box(), epoch, carried })).mustFollow(carried);
        },
        stop: async () => {},
      },
      'server keys',
      ['ServerKeysHeld'],
    ),
    room.leave(),
    {
      name: 'administration server',
      start: () => {
        server = build();
        return server.start();
      },
      stop: async () => server?.stop(),
    },
  ];
  return {
    parts,
    store,
    tokenFile,
    get port() {
      if (!server) throw new Error('the administration server is not started');
      return server.port;
    },
  };
}

/** SQLite keeps its key beside its file, unless another one is named. */
export function boxOf(
  { secretsKeyFile, databaseUrl }: Pick<AdminSettings, 'secretsKeyFile' | 'databaseUrl'>,
  dataDir: string,
): SecretBox {
  const ownFile = databaseUrl === undefined ? join(dataDir, 'secrets.key') : null;
  try {
    return secretBox({ keyFile: secretsKeyFile, ownFile });
  } catch (error) {
    if (error instanceof StoreSettingsError) throw new ConfigError([`--secrets-key-file: ${error.message}`]);
    throw error;
  }
}

export function storeOf(
  dataDir: string,
  databaseUrl: string | undefined,
  log: Logger,
  certificates?: Certificates,
): Store {
  try {
    return openStore({ dataDir, databaseUrl, log, certificates });
  } catch (error) {
    if (error instanceof StoreSettingsError) throw new ConfigError([`--database-url: ${error.message}`]);
    throw error;
  }
}

/** Throws `ConfigError` for an invalid name of a gateway. */
function gatewayNames(text = ''): string[] {
  const names = text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const wrong = names.filter((name) => !ID_PATTERN.test(name));
  if (wrong.length === 0) return names;
  throw new ConfigError([`--join-tokens: ${JSON.stringify(wrong[0])} is no name of a gateway`]);
}

function joinTokenFile(dataDir: string, gateway: string): string {
  const folder = join(dataDir, 'join-tokens');
  makeFolder(folder);
  return join(folder, gateway);
}

/** Throws `ConfigError` for an invalid path; removes a slash at its end. */
function basePath(text: string): string {
  const path = text.replace(/\/+$/, '');
  if (path === '' || /^(\/[\w.~-]+)+$/.test(path)) return path;
  throw new ConfigError([`--base-path: ${JSON.stringify(text)} is not a path such as /pushpoint`]);
}

/**
 * Throws `ConfigError` for an invalid origin. Browsers write scheme, host, and the port unless it is the
 * default.
 */
function originList(text: string): string[] {
  const list = text.split(',').map((entry) => entry.trim());
  const wrong = list.filter((entry) => entry !== '*' && !isOrigin(entry));
  if (wrong.length > 0) {
    throw new ConfigError([
      `--allowed-origins: ${wrong.map((entry) => JSON.stringify(entry)).join(', ')} is no origin such as https://kiosk.example.net`,
    ]);
  }
  return list;
}

function isOrigin(entry: string): boolean {
  return URL.canParse(entry) && new URL(entry).origin === entry;
}

/** Throws `ConfigError` for a value that is neither an address, a range, nor the name of a range. */
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

/** Readable by this user only, written as a whole, and on the disk before the token is recorded. */
async function writeToken(path: string, token: string): Promise<void> {
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  await writeFile(temporary, `${token}\n`, { mode: 0o600, flag: 'wx', flush: true });
  await rename(temporary, path);
}
