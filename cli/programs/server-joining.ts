/**
 * How an administration server on another machine joins an installation: it gets a certificate for its name,
 * and the key that encrypts the installation's secrets, before anything in the database is opened.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { storeKey } from '../../admin-api/at-rest/key-file.ts';
import { PlainBox, type SecretBox } from '../../admin-api/at-rest/secret-box.ts';
import { authoritiesChangedAt } from '../../admin-api/pki/certificate-authority.ts';
import { RunningServer } from '../../admin-api/pki/running-servers.ts';
import type { Store } from '../../admin-api/store/store.ts';
import { serverSubject } from '../../bus/subjects.ts';
import type { Certificates } from '../../bus/tls/certificates.ts';
import type { GatewayIdentity } from '../../gateway/joining/identity.ts';
import { IdentityFiles } from '../../gateway/joining/identity-files.ts';
import { Joiner } from '../../gateway/joining/joiner.ts';
import { Renewals } from '../../gateway/joining/renewals.ts';
import { Dependency } from '../../health/health.ts';
import { ID_PATTERN } from '../../protocol/index.ts';
import { ConfigError } from '../config/load.ts';
import type { ConfigOf } from '../config/options.ts';
import { boxOf } from './admin-parts.ts';
import { firstIdentity, type JoiningKind, type JoiningParts } from './joining.ts';
import type { Part } from './lifecycle.ts';

const SAY_MS = 5_000;
const SERVER: JoiningKind = {
  token: 'pps1',
  command: 'servers',
  certificate: 'certificate of the server',
  called: 'server',
};

type JoinConfig = Pick<
  ConfigOf<'admin'>,
  'serverName' | 'dataDir' | 'databaseUrl' | 'secretsKeyFile' | 'joinToken' | 'joinTokenFile' | 'installation'
>;

type Surroundings = Omit<JoiningParts, 'files'> & { certificates: Certificates };

export interface ServerJoining {
  /** Starts before anything that needs `box`. */
  part: Part;
  /** Throws `ConfigError`. */
  box(): SecretBox;
  /** Renews the certificate; starts when the store has started. */
  follow(store: Store): Part;
}

/**
 * `null`: this server has not joined another one, and needs no certificate. `over`: the certificate of the
 * running server was revoked, or ended before it was renewed. Throws `ConfigError`.
 */
export function serverJoining(
  config: JoinConfig,
  surroundings: Surroundings,
  over: (why: string) => void,
): ServerJoining | null {
  const name = nameIn(config);
  if (name === null) return null;
  const folder = join(resolve(config.dataDir), 'servers', name);
  const keyFile = resolve(config.secretsKeyFile ?? join(folder, 'secrets.key'));
  const files = new IdentityFiles(folder);
  const subject = serverSubject(name);
  const keepKey = (key: Uint8Array) => storeKey(keyFile, key);
  const joiner = new Joiner({ ...surroundings, files, gateway: subject, keepKey });
  const first = firstIdentity(SERVER, config, { ...surroundings, files, joiner, subject });
  let identity: GatewayIdentity | undefined;
  return {
    part: {
      name: 'identity of the server',
      async start() {
        identity = await first.get();
      },
      async stop() {
        first.stop();
        joiner.stop();
      },
    },
    box() {
      const isEncrypted = config.secretsKeyFile !== undefined || existsSync(keyFile);
      return isEncrypted ? boxOf({ ...config, secretsKeyFile: keyFile }, config.dataDir) : new PlainBox();
    },
    follow: (store) =>
      renewingPart({ ...surroundings, name, files, joiner, over, store, identity: () => identity }),
  };
}

/** Throws `ConfigError`. */
function nameIn(config: JoinConfig): string | null {
  const { serverName: name, joinToken, joinTokenFile, installation, databaseUrl } = config;
  if (name === undefined) {
    if ((joinToken ?? joinTokenFile ?? installation) === undefined) return null;
    throw new ConfigError([
      '--join-token, --join-token-file, --installation: a server that joins needs --server-name as well',
    ]);
  }
  if (!ID_PATTERN.test(name)) {
    throw new ConfigError([`--server-name: ${JSON.stringify(name)} is no name of a server`]);
  }
  if (databaseUrl !== undefined) return name;
  throw new ConfigError(['--server-name: a server that joins shares a PostgreSQL database: --database-url']);
}

interface RenewingParts extends Surroundings {
  name: string;
  files: IdentityFiles;
  joiner: Joiner;
  over: (why: string) => void;
  store: Store;
  identity: () => GatewayIdentity | undefined;
}

function renewingPart(parts: RenewingParts): Part {
  const { name, files, joiner, over, store, bus, log, certificates } = parts;
  const now = () => bus.clock.now();
  const running = new RunningServer(store.meta, now);
  let renewals: Renewals | undefined;
  let timer: NodeJS.Timeout | undefined;
  let unwatch = () => {};
  const say = async () => {
    const serial = renewals?.identity.serial;
    if (serial === undefined) return;
    await running.say({ name, serial }).catch((error) => log.debug({ err: error }, 'not said to run yet'));
  };
  return {
    name: 'renewal of the certificate',
    async start() {
      const identity = parts.identity();
      if (identity === undefined) throw new Error('the server has not joined');
      const { identityFile, certificateFile: certFile } = files;
      unwatch = certificates.watch({ name: 'identity', files: [identityFile], certFile, take: () => {} });
      const epoch = () => bus.owner.seen;
      const renewAfter = () => renewalAsked(store, renewals?.identity.serial ?? identity.serial);
      const own = { joiner, files, log, now, epoch, renewAfter, over, health: new Dependency() };
      renewals = new Renewals({ ...own, renewed: () => void say() }, identity);
      await say();
      timer = setInterval(() => void say(), SAY_MS);
      renewals.start();
    },
    async stop() {
      clearInterval(timer);
      unwatch();
      joiner.stop();
      await renewals?.stop();
      await running.leave().catch((error) => log.debug({ err: error }, 'not said to have stopped'));
    },
  };
}

/** The database says whether the authorities changed, and whether this certificate was revoked. */
async function renewalAsked(store: Store, serial: string): Promise<number> {
  try {
    const own = await store.gatewayCertificates.get(serial);
    return Math.max(own?.revokedAt ?? 0, await authoritiesChangedAt(store));
  } catch {
    // It is read again soon.
    return 0;
  }
}
