import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import type { RedisServer } from './redis.ts';

/**
 * Calls `onCommand` with every command that Redis runs, those of scripts included, until the returned
 * function is called. Over a plain socket: clients mix the first of them up with the answer to MONITOR.
 */
export async function monitorRedis(
  { port }: RedisServer,
  onCommand: (name: string, key: string | undefined) => void,
): Promise<() => void> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  createInterface({ input: socket }).on('line', (line) => {
    const [, name, key] = /\] "((?:[^"\\]|\\.)*)"(?: "((?:[^"\\]|\\.)*)")?/.exec(line) ?? [];
    if (name !== undefined) onCommand(name.toLowerCase(), key);
  });
  socket.on('error', () => {
    // Redis went away: whoever waits for a command gives up by himself.
  });
  socket.write('MONITOR\r\n');
  return () => socket.destroy();
}

/** All that Redis runs from here on, as it tells it: bytes that are no text stand there as their hex. */
export async function monitoredText({ port }: RedisServer): Promise<{ text(): Buffer; stop(): void }> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('error', () => {});
  socket.write('MONITOR\r\n');
  return { text: () => Buffer.concat(chunks), stop: () => socket.destroy() };
}
