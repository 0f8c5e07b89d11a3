/** `pushpoint restored`: begins a new epoch after an older copy of the database was restored. */
import { loadEpochMac } from '../../admin-api/epoch-mac.ts';
import { beginEpoch, loadInstallation } from '../../admin-api/installation.ts';
import { type Carried, carriedKeys } from '../../admin-api/keys/carried-keys.ts';
import { rootOfEpoch, signEpochKeys } from '../../admin-api/keys/epoch-keys.ts';
import { type KeyPair, pairOf } from '../../admin-api/keys/key-vault.ts';
import { nameOf, ServerKeys, ServerKeysHeld } from '../../admin-api/keys/server-keys.ts';
import type { Store } from '../../admin-api/store/store.ts';
import { type EpochMac, ForeignInstallation } from '../../bus/bus.ts';
import { openBus } from '../../bus/open-bus.ts';
import { decodeServerKeys, LIMITS, toBase64url } from '../../protocol/index.ts';
import type { Flags } from '../command-line.ts';
import { loadConfig } from '../config/load.ts';
import type { ConfigOf } from '../config/options.ts';
import { redisSettings } from '../config/redis.ts';
import { CliError, EXIT, type ExitCode } from '../exit-codes.ts';
import { readRootKey } from '../operator/root-key-file.ts';
import type { Shell } from '../shell.ts';
import { programLog } from './logger.ts';
import { onDatabase } from './on-database.ts';

/** What Redis knows of the installation. */
interface Seen {
  /** The latest that an administration server began. */
  epoch: number;
  carried: Carried;
}

export async function runRestored(shell: Shell, flags: Flags): Promise<ExitCode> {
  const config = loadConfig('restored', { flags, env: shell.env });
  const say = (...lines: string[]) => shell.stdout.write(`${lines.join('\n')}\n`);
  const { rootSignature } = config;
  const rootKey = config.rootKey === undefined ? undefined : pairOf(readRootKey(config.rootKey));
  await onDatabase(config, async (store, box) => {
    if (rootSignature !== undefined) {
      say(await takeSignature(store, rootSignature));
      return;
    }
    const { id, epoch: before } = await loadInstallation(store.meta);
    const seen = await seenInRedis(config, id, await loadEpochMac(store.meta, box));
    if (rootKey) await mustBeRoot(store, seen.carried, rootKey);
    const { epoch } = await beginEpoch(store, seen.epoch, Date.now());
    const { carried } = seen;
    const serverKeys = await ServerKeys.load({ meta: store.meta, box, epoch, carried, rootKey });
    say(`Installation ${id}: epoch ${epoch} begins; it was ${before}.`);
    say(...(await nextSteps(serverKeys, carried)));
    if (config.redisUrl === undefined && config.databaseUrl !== undefined) {
      say(
        'Redis was not asked (--redis-url): should a server say that a later epoch or later server keys ' +
          'were in use, run this again with it.',
      );
    }
  });
  return EXIT.ok;
}

/** What the operator does now. */
async function nextSteps(serverKeys: ServerKeys, carried: Carried): Promise<string[]> {
  const start =
    'Start its administration servers now, and restart any that run; gateways and devices need nothing.';
  const { pending } = serverKeys.record;
  if (!pending) return [start];
  const name = nameOf(decodeServerKeys(pending));
  const held = await serverKeys.mustFollow(carried).then(
    () => false,
    (error) => {
      if (error instanceof ServerKeysHeld) return true;
      throw error;
    },
  );
  if (!held) {
    return [
      start,
      `Then sign the server keys ${name} with the root key: pushpoint keys root sign --key FILE`,
    ];
  }
  return [
    `The root key has to sign its server keys ${name} before a server can start. Run this again with ` +
      '--root-key FILE. If the file may not come to this machine, run where it is:',
    `  pushpoint keys root sign-document --key FILE ${toBase64url(pending)}`,
    'and then here, with the same settings:',
    '  pushpoint restored --root-signature SIGNATURE',
  ];
}

async function mustBeRoot(store: Store, carried: Carried, { publicKey }: KeyPair): Promise<void> {
  const root = await rootOfEpoch(store.meta, carried);
  if (root === null || Buffer.compare(root, publicKey) === 0) return;
  throw new CliError(
    EXIT.usage,
    `--root-key: its public key is ${toBase64url(publicKey)}, and that of the installation's root key ` +
      `is ${toBase64url(root)}. Nothing was changed.`,
  );
}

async function takeSignature(store: Store, text: string): Promise<string> {
  const sig = Buffer.from(text, 'base64url');
  const outcome =
    sig.length === LIMITS.signatureBytes ? await signEpochKeys(store, sig, Date.now()) : 'wrong';
  if (outcome === 'none') {
    throw new CliError(EXIT.usage, 'No server keys wait for a signature: run it without --root-signature.');
  }
  if (outcome === 'wrong') {
    throw new CliError(EXIT.usage, '--root-signature: not that of the root key for the keys that wait.');
  }
  return 'The server keys are signed. Start the administration servers now.';
}

/** Nothing where there is no Redis. */
async function seenInRedis(config: ConfigOf<'restored'>, id: string, epochMac: EpochMac): Promise<Seen> {
  const { redisUrl } = config;
  if (redisUrl === undefined) return { epoch: 0, carried: [] };
  const bus = openBus({ redis: redisSettings({ ...config, redisUrl }), log: programLog('error') });
  await bus.start();
  try {
    const held = await bus.owner.held(epochMac);
    if (held !== null && held.id !== id) {
      throw new ForeignInstallation(
        `this Redis belongs to installation ${held.id}, and the database is that of ${id}: one of the ` +
          'two is the wrong one',
      );
    }
    return { epoch: held?.epoch ?? 0, carried: await carriedKeys(bus) };
  } finally {
    await bus.stop();
  }
}
