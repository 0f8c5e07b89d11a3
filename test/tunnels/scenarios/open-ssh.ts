/**
 * Real OpenSSH through a tunnel: as ProxyCommand over standard input and output, and through a local port.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import * as assert from 'uvu/assert';
import { MAIN } from '../deployment.ts';
import { Pattern } from '../pattern.ts';
import { runProgram } from '../run-program.ts';
import { type Scenario, since, type World } from '../world.ts';

const FILE_BYTES = 200_000_000;
const PIPE_BYTES = 20_000_000;
const PIECE = 1_000_000;

export const openSsh: Scenario = {
  name: 'open-ssh',
  title: 'ssh and scp of 200 MB, through --stdio and through a local port',
  async run(world) {
    const { deployment, ssh } = world;
    await deployment.group('ssh');
    await deployment.startGateway('gw-ssh', 'ssh', { workers: 2 });
    const agent = await deployment.startAgent('ssh-host', 'ssh', [ssh.port]);
    const tunnel = `${process.execPath} ${MAIN} tunnel %h ${ssh.port} --stdio --reason scenario`;
    const proxyCommand = `ProxyCommand=${tunnel}`;
    const local = await deployment.startTunnel(agent.id, ssh.port, '--reason', 'scenario');
    const ways: [string, string[], string[]][] = [
      ['--stdio', ['-o', proxyCommand, agent.id], ['-o', proxyCommand]],
      ['-L', ['-p', String(local.port), '127.0.0.1'], ['-P', String(local.port)]],
    ];
    const file = join(deployment.folder, 'large');
    const digest = await makeFile(file);
    for (const [way, sshTo, scpTo] of ways) {
      await shellCommand(world, way, sshTo);
      await halfClosed(world, way, sshTo);
      const host = way === '-L' ? '127.0.0.1' : agent.id;
      await copy(world, { way, scpTo, host, file, digest });
    }
    const { program } = local;
    await program.kill('SIGINT');
    assert.is((await program.exited).code, 0, 'Ctrl-C is how a tunnel ends in good order');
    const ended = await deployment.newestTunnel(agent.id);
    assert.ok(ended.bytesUp + ended.bytesDown > 0);
  },
};

async function shellCommand({ deployment, ssh }: World, way: string, to: readonly string[]): Promise<void> {
  const command = 'echo out; echo err >&2; exit 7';
  const args = [...ssh.options, ...to, command];
  const { code, stdout, stderr } = await runProgram(ssh.ssh, args, { env: deployment.operatorEnv });
  assert.equal([code, stdout.toString(), stderr.includes('err')], [7, 'out\n', true], `${way}: ${stderr}`);
}

/**
 * `ssh … cat` fed by a pipe: the end of the input goes through, and all of the output comes back after it.
 */
async function halfClosed(world: World, way: string, to: readonly string[]): Promise<void> {
  const { deployment, ssh } = world;
  const pattern = new Pattern(way.length);
  const expected = new Pattern(way.length).take(PIPE_BYTES);
  const input = Array.from({ length: PIPE_BYTES / PIECE }, () => pattern.take(PIECE));
  const end = await runProgram(ssh.ssh, [...ssh.options, ...to, 'cat'], {
    env: deployment.operatorEnv,
    input,
  });
  assert.is(end.code, 0, `${way}: ${end.stderr}`);
  const same = end.stdout.equals(expected);
  world.checked(PIPE_BYTES * 2, same ? null : `${end.stdout.length} other bytes`, `${way}: ssh cat`);
}

async function copy(
  world: World,
  {
    way,
    scpTo,
    host,
    file,
    digest,
  }: { way: string; scpTo: string[]; host: string; file: string; digest: string },
): Promise<void> {
  const { deployment, ssh, say } = world;
  const copied = `${file}${way}`;
  // To the device one way, from it the other.
  const paths = way === '-L' ? [`${host}:${file}`, copied] : [file, `${host}:${copied}`];
  const began = performance.now();
  const end = await runProgram(ssh.scp, ['-q', ...ssh.options, ...scpTo, ...paths], {
    env: deployment.operatorEnv,
  });
  assert.is(end.code, 0, `${way}: ${end.stderr}`);
  say(`scp of ${FILE_BYTES / 1e6} MB, ${way}: ${since(began)}`);
  world.checked(FILE_BYTES, (await digestOf(copied)) === digest ? null : 'another checksum', `${way}: scp`);
}

async function makeFile(path: string): Promise<string> {
  const file = await open(path, 'w');
  const pattern = new Pattern(42);
  const hash = createHash('sha256');
  for (let written = 0; written < FILE_BYTES; written += PIECE) {
    const piece = pattern.take(PIECE);
    hash.update(piece);
    await file.write(piece);
  }
  await file.close();
  return hash.digest('hex');
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
