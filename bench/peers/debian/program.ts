import { execFile } from 'node:child_process';
import { access, mkdtemp, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findPrograms, installPackage } from '../../../test/services/install.ts';
import { Service } from '../../../test/services/service.ts';
import { PeerMissing } from '../peer.ts';

const run = promisify(execFile);

export interface Wanted {
  program: string;
  /** Debian's packages of it. */
  packages: readonly string[];
  /** Must be there beside it: a module of it. */
  file?: string;
  install: boolean;
}

/**
 * Full path of the program, installed if it may be. Rejects with `PeerMissing` where it is not there after
 * all.
 */
export async function ensureProgram({ program, packages, file, install }: Wanted): Promise<string> {
  const find = async () => {
    if (file !== undefined && !(await exists(file))) return undefined;
    return (await findPrograms([program], ['/usr/sbin', '/usr/bin', '/usr/local/bin']))?.[program];
  };
  const found = await find();
  if (found !== undefined) return found;
  if (!install) {
    throw new PeerMissing(
      `not installed: apt-get install --no-install-recommends ${packages.join(' ')} (Debian, Ubuntu)`,
    );
  }
  try {
    for (const name of packages) await installPackage(name, 'elsewhere put it on the PATH');
  } catch (error) {
    throw new PeerMissing((error as Error).message);
  }
  const installed = await find();
  if (installed === undefined)
    throw new PeerMissing(`${program} was installed, but is not where it is looked for`);
  return installed;
}

/** What the program prints about itself, which some do on the error stream and with an exit code. */
export async function versionOf(command: string, flag: string): Promise<string> {
  const { stdout, stderr } = await run(command, [flag]).catch(
    (error: { stdout: string; stderr: string }) => error,
  );
  return /\d+(\.\d+)+/.exec(`${stdout}${stderr}`)?.[0] ?? 'unknown';
}

/**
 * Writes `config` into a folder of its own and runs the program with it. Resolves when `port` takes
 * connections.
 */
export async function startProgram(options: {
  name: string;
  command: string;
  port: number;
  config(folder: string): string;
  arguments(configFile: string, folder: string): string[];
}): Promise<Service> {
  const folder = await mkdtemp(join(tmpdir(), `pushpoint-bench-${options.name}-`));
  const configFile = join(folder, 'config');
  await writeFile(configFile, options.config(folder));
  const service = new Service({
    name: options.name,
    folder,
    command: options.command,
    arguments: options.arguments(configFile, folder),
    stopSignal: 'SIGTERM',
    endSignal: 'KILL',
    answers: () => accepts(options.port),
    startTimeoutMs: 20_000,
  });
  try {
    await service.start();
  } catch (error) {
    await service.stop();
    throw error;
  }
  return service;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      resolve(true);
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
  });
}

const exists = (file: string) =>
  access(file).then(
    () => true,
    () => false,
  );
