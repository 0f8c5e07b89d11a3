/** How a gateway gets what it is known by, before its workers start, and keeps it fresh. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Bus } from '../../bus/bus.ts';
import { parseFingerprint, parseJoinToken } from '../../bus/join-token.ts';
import type { Certificates } from '../../bus/tls/certificates.ts';
import type { GatewayIdentity } from '../../gateway/joining/identity.ts';
import { IdentityFiles } from '../../gateway/joining/identity-files.ts';
import { type JoinBy, Joiner } from '../../gateway/joining/joiner.ts';
import { Renewals } from '../../gateway/joining/renewals.ts';
import { Dependency } from '../../health/health.ts';
import { ConfigError } from '../config/load.ts';
import type { ConfigOf } from '../config/options.ts';
import { usableFolder } from './folders.ts';
import type { Part } from './lifecycle.ts';
import type { WaitingRoom } from './waiting-room.ts';

const FILE_POLL_MS = 500;
const WAITS_FOR = 'certificate of the gateway';

type JoinConfig = Pick<
  ConfigOf<'gateway'>,
  'name' | 'dataDir' | 'joinToken' | 'joinTokenFile' | 'installation'
>;

export interface JoiningParts {
  bus: Bus;
  room: WaitingRoom;
  log: Logger;
  certificates: Certificates;
}

/** With what to join. A file may be written after the gateway started. */
type Right = JoinBy | { file: string };

/** Throws `ConfigError` for a token or fingerprint that is none. */
export function joiningPart(config: JoinConfig, parts: JoiningParts): Part {
  const right = rightOf(config);
  const folder = join(resolve(config.dataDir), 'gateways', config.name);
  const files = new IdentityFiles(folder);
  const life = new AbortController();
  const joiner = new Joiner({ ...parts, files, gateway: config.name });
  let renewals: Renewals | undefined;
  let unwatch = () => {};
  return {
    name: 'identity of the gateway',
    async start() {
      const held = stillGood(files.read(), config.name, parts.bus.clock.now());
      if (held === null && right === null) return;
      usableFolder('--data-dir', folder);
      const identity = held ?? (await joined(joiner, right as Right, parts, life.signal));
      parts.room.there(WAITS_FOR);
      const { log, bus, certificates } = parts;
      const now = () => bus.clock.now();
      renewals = new Renewals({ joiner, files, log, now, health: new Dependency() }, identity);
      renewals.start();
      const { certificateFile: certFile } = files;
      unwatch = certificates.watch({ name: 'identity', files: [certFile], certFile, take: () => {} });
    },
    async stop() {
      life.abort();
      joiner.stop();
      unwatch();
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
  const token = parseJoinToken(text);
  if (token) return token;
  throw new ConfigError([`${source} is no join token: expected what pushpoint gateways join-token printed`]);
}
