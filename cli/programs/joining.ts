/**
 * How a program gets its first identity: with a join token or by approval. A gateway renews it in its
 * supervisor; `server-joining.ts` is the same for an administration server.
 */

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
import { parseFingerprint, parseToken, type TokenKind } from '../../protocol/index.ts';
import { ConfigError } from '../config/load.ts';
import type { ConfigOf } from '../config/options.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import { usableFolder } from './folders.ts';
import type { Part } from './lifecycle.ts';
import type { WaitingRoom } from './waiting-room.ts';

const FILE_POLL_MS = 500;

/** What joins. */
export interface JoiningKind {
  token: TokenKind;
  /** Operators' commands for it: `pushpoint gateways join-token`. */
  command: 'gateways' | 'servers';
  /** For the waiting room. */
  certificate: string;
  called: string;
}

const GATEWAY: JoiningKind = {
  token: 'ppg1',
  command: 'gateways',
  certificate: 'certificate of the gateway',
  called: 'gateway',
};

type RightConfig = Pick<ConfigOf<'gateway'>, 'joinToken' | 'joinTokenFile' | 'installation'>;
type JoinConfig = Pick<ConfigOf<'gateway'>, 'name' | 'dataDir'> & RightConfig;

export interface JoiningParts {
  files: IdentityFiles;
  bus: Bus;
  room: WaitingRoom;
  log: Logger;
}

/** How to join. A token file may be written after the program started. */
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
  const { files, bus, log } = parts;
  const joiner = new Joiner({ ...parts, gateway: config.name });
  const first = firstIdentity(GATEWAY, config, { ...parts, joiner, subject: config.name });
  let renewals: Renewals | undefined;
  return {
    name: 'identity of the gateway',
    async start() {
      const identity = await first.get();
      const now = () => bus.clock.now();
      const epoch = () => bus.owner.seen;
      const renewAfter = () => renewalAsked(bus, config.name);
      const health = new Dependency();
      renewals = new Renewals({ joiner, files, log, now, epoch, renewAfter, health, over }, identity);
      renewals.start();
    },
    async stop() {
      first.stop();
      joiner.stop();
      await renewals?.stop();
    },
  };
}

export interface FirstIdentity {
  /** The one in the files if it is still good, or one that it joins for. */
  get(): Promise<GatewayIdentity>;
  stop(): void;
}

/** `subject`: whom the certificate names. Throws `ConfigError` like `joiningPart`. */
export function firstIdentity(
  kind: JoiningKind,
  config: RightConfig,
  parts: JoiningParts & { joiner: Joiner; subject: string },
): FirstIdentity {
  const { files, subject, bus, room, joiner } = parts;
  const right = rightOf(kind, config);
  if (right === null && files.read() === null) throw new ConfigError([howToJoin(kind)]);
  const life = new AbortController();
  return {
    async get() {
      const held = stillGood(files.read(), subject, bus.clock.now());
      if (held === null && right === null) {
        throw new CliError(EXIT.usage, `Cannot start: ${howToJoin(kind)}`);
      }
      usableFolder('--data-dir', files.folder);
      const identity = held ?? (await joined(kind, joiner, right as Right, parts, life.signal));
      room.there(kind.certificate);
      return identity;
    },
    stop: () => life.abort(),
  };
}

function howToJoin({ command, called }: JoiningKind): string {
  return (
    `this ${called} has no valid certificate: start it with --join-token (or --join-token-file) and what ` +
    `\`pushpoint ${command} join-token NAME\` prints, or with --installation and the fingerprint that ` +
    `\`pushpoint ${command} approve\` shows`
  );
}

function stillGood(identity: GatewayIdentity | null, subject: string, now: number): GatewayIdentity | null {
  return identity && identity.gateway === subject && identity.expiresAt > now ? identity : null;
}

async function joined(
  kind: JoiningKind,
  joiner: Joiner,
  right: Right,
  { room }: JoiningParts,
  signal: AbortSignal,
): Promise<GatewayIdentity> {
  const by = 'file' in right ? await tokenIn(kind, right.file, room, signal) : right;
  const waits =
    'token' in by ? 'an administration server' : `approval: see pushpoint ${kind.command} approve`;
  await room.waitsFor(kind.certificate, `waiting for ${waits}`);
  return joiner.join(by);
}

async function tokenIn(
  kind: JoiningKind,
  file: string,
  room: WaitingRoom,
  signal: AbortSignal,
): Promise<JoinBy> {
  for (;;) {
    try {
      return { token: tokenOf(kind, readFileSync(file, 'utf8'), `--join-token-file: ${file}`) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      await room.waitsFor(kind.certificate, `${file} does not exist yet`);
    }
    await pause(FILE_POLL_MS, undefined, { signal });
  }
}

function rightOf(kind: JoiningKind, { joinToken, joinTokenFile, installation }: RightConfig): Right | null {
  if (joinToken !== undefined) return { token: tokenOf(kind, joinToken, '--join-token') };
  if (joinTokenFile !== undefined) return { file: joinTokenFile };
  if (installation === undefined) return null;
  const fingerprint = parseFingerprint(installation);
  if (fingerprint) return { fingerprint };
  throw new ConfigError([
    `--installation: expected the fingerprint that pushpoint ${kind.command} approve shows`,
  ]);
}

function tokenOf({ token: kind, command, called }: JoiningKind, text: string, source: string) {
  const token = parseToken(kind, text);
  if (token) return token;
  throw new ConfigError([
    `${source} is no join token of a ${called}: expected what pushpoint ${command} join-token printed`,
  ]);
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
