/** How a gateway gets its identity before its workers start, and renews it. */

import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Bus } from '../../bus/bus.ts';
import type { GatewayIdentity } from '../../gateway/joining/identity.ts';
import { IdentityFiles } from '../../gateway/joining/identity-files.ts';
import { type JoinBy, Joiner } from '../../gateway/joining/joiner.ts';
import { Renewals } from '../../gateway/joining/renewals.ts';
import { Dependency } from '../../health/health.ts';
import { parseFingerprint, parseToken } from '../../protocol/index.ts';
import { ConfigError } from '../config/load.ts';
import type { ConfigOf } from '../config/options.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import { usableFolder } from './folders.ts';
import type { Part } from './lifecycle.ts';
import type { WaitingRoom } from './waiting-room.ts';

const FILE_POLL_MS = 500;
const HOW_TO_JOIN =
  'this gateway has no valid certificate: start it with --join-token (or --join-token-file) and what ' +
  '`pushpoint gateways join-token NAME` prints, or with --installation and the fingerprint that ' +
  '`pushpoint gateways approve` shows';
const WAITS_FOR = 'certificate of the gateway';

type JoinConfig = Pick<
  ConfigOf<'gateway'>,
  'name' | 'dataDir' | 'joinToken' | 'joinTokenFile' | 'installation'
>;

export interface JoiningParts {
  files: IdentityFiles;
  bus: Bus;
  room: WaitingRoom;
  log: Logger;
}

/** How to join. A token file may be written after the gateway started. */
type Right = JoinBy | { file: string };

/** Of this gateway, in the data folder. */
export function identityFiles({ name, dataDir }: Pick<JoinConfig, 'name' | 'dataDir'>): IdentityFiles {
  return new IdentityFiles(join(resolve(dataDir), 'gateways', name));
}

/**
 * `over`: the certificate of the running gateway was revoked, or ended before it was renewed. Throws
 * `ConfigError` for an invalid token or fingerprint, and if there is no way to join.
 */
export function joiningPart(config: JoinConfig, parts: JoiningParts, over: (why: string) => void): Part {
  const right = rightOf(config);
  const { files } = parts;
  if (right === null && files.read() === null) throw new ConfigError([HOW_TO_JOIN]);
  const life = new AbortController();
  const joiner = new Joiner({ ...parts, gateway: config.name });
  let renewals: Renewals | undefined;
  return {
    name: 'identity of the gateway',
    async start() {
      const held = stillGood(files.read(), config.name, parts.bus.clock.now());
      if (held === null && right === null) throw new CliError(EXIT.usage, `Cannot start: ${HOW_TO_JOIN}`);
      usableFolder('--data-dir', files.folder);
      const identity = held ?? (await joined(joiner, right as Right, parts, life.signal));
      parts.room.there(WAITS_FOR);
      const { log, bus } = parts;
      const now = () => bus.clock.now();
      const epoch = () => bus.owner.seen;
      const renewAfter = () => renewalAsked(bus, config.name);
      const health = new Dependency();
      renewals = new Renewals({ joiner, files, log, now, epoch, renewAfter, health, over }, identity);
      renewals.start();
    },
    async stop() {
      life.abort();
      joiner.stop();
      await renewals?.stop();
    },
  };
}

function stillGood(identity: GatewayIdentity | null, gateway: string, now: number): GatewayIdentity | null {
  return identity && identity.gateway === gateway && identity.expiresAt > now ? identity : null;
}

async function joined(
  joiner: Joiner,
  right: Right,
  { room }: JoiningParts,
  signal: AbortSignal,
): Promise<GatewayIdentity> {
  const by = 'file' in right ? await tokenIn(right.file, room, signal) : right;
  const waits = 'token' in by ? 'an administration server' : 'approval: see pushpoint gateways approve';
  await room.waitsFor(WAITS_FOR, `waiting for ${waits}`);
  return joiner.join(by);
}

async function tokenIn(file: string, room: WaitingRoom, signal: AbortSignal): Promise<JoinBy> {
  for (;;) {
    try {
      return { token: tokenOf(readFileSync(file, 'utf8'), `--join-token-file: ${file}`) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      await room.waitsFor(WAITS_FOR, `${file} does not exist yet`);
    }
    await pause(FILE_POLL_MS, undefined, { signal });
  }
}

function rightOf({ joinToken, joinTokenFile, installation }: JoinConfig): Right | null {
  if (joinToken !== undefined) return { token: tokenOf(joinToken, '--join-token') };
  if (joinTokenFile !== undefined) return { file: joinTokenFile };
  if (installation === undefined) return null;
  const fingerprint = parseFingerprint(installation);
  if (fingerprint) return { fingerprint };
  throw new ConfigError(['--installation: expected the fingerprint that pushpoint gateways approve shows']);
}

function tokenOf(text: string, source: string) {
  const token = parseToken('ppg1', text);
  if (token) return token;
  throw new ConfigError([`${source} is no join token: expected what pushpoint gateways join-token printed`]);
}

/** Whoever can write there can cause early renewals, and nothing else. */
async function renewalAsked(bus: Bus, name: string): Promise<number> {
  try {
    return (await bus.directory.gateways()).find((gateway) => gateway.name === name)?.renewAfter ?? 0;
  } catch {
    // It is read again soon.
    return 0;
  }
}
