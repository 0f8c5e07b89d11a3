import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { BarePublisher } from '../bare/bare-publisher.ts';
import { type Peer, PeerMissing, type RunningPeer } from './peer.ts';
import type { ServerAnswer, ServerRequest } from './servers/server-messages.ts';

/**
 * Connections of one process: the descriptor limit of many systems is 20,000, and some are for other things.
 */
const PER_PROCESS = 18_000;

export const uWebSockets: Peer = {
  name: 'uWebSockets.js',
  how: 'bare: a process for each core, publish to one topic',
  dialect: 'plain',
  async start({ devices, workers }) {
    const server = await BarePublisher.start(Math.max(workers, Math.ceil(devices / PER_PROCESS)));
    return {
      version: versionOf('uWebSockets.js'),
      ports: [server.port],
      pids: server.pids,
      publisher: async () => ({
        publish: async (payload) => server.publish(Buffer.from(payload)),
        close() {},
      }),
      stop: () => server.stop(),
    };
  },
};

export const ws: Peer = {
  name: 'ws',
  how: 'one process for each 18,000, defaults, loop over clients',
  dialect: 'plain',
  start: ({ devices }) => startServers('ws-server', Math.ceil(devices / PER_PROCESS), 'ws'),
};

export const socketIo: Peer = {
  name: 'socket.io',
  how: 'one process for each 18,000, defaults without polling, emit',
  dialect: 'engine-io',
  start: ({ devices }) => startServers('socket-io-server', Math.ceil(devices / PER_PROCESS), 'socket.io'),
};

/** Processes with a port each. */
async function startServers(file: string, count: number, name: string): Promise<RunningPeer> {
  const version = versionOf(name);
  const children: ChildProcess[] = [];
  const stop = async () => {
    const ended = children.filter((child) => child.exitCode === null && child.signalCode === null);
    await Promise.all(
      ended.map(async (child) => {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }),
    );
  };
  try {
    const ports = await Promise.all(
      Array.from({ length: count }, async () => {
        const child = fork(fileURLToPath(new URL(`servers/${file}.js`, import.meta.url)));
        children.push(child);
        const answer = await answerOf(child, name);
        if (!('listening' in answer)) throw new Error(`${name} did not say its port`);
        return answer.listening;
      }),
    );
    return {
      version,
      ports,
      pids: children.map((child) => child.pid as number),
      publisher: async () => ({
        async publish(payload) {
          const taken = children.map((child) => answerOf(child, name));
          for (const child of children) child.send({ publish: payload } satisfies ServerRequest);
          await Promise.all(taken);
        },
        close() {},
      }),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function answerOf(child: ChildProcess, name: string): Promise<ServerAnswer> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null) => reject(new Error(`${name} ended with exit code ${code}`));
    child.once('exit', ended);
    child.once('message', (answer: ServerAnswer) => {
      child.off('exit', ended);
      resolve(answer);
    });
  });
}

function versionOf(name: string): string {
  try {
    const file = createRequire(import.meta.url).resolve(`${name}/package.json`);
    return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
  } catch {
    throw new PeerMissing(`${name} is not installed: npm ci, with development packages`);
  }
}
