/**
 * The last resort of a stop: a thread that kills the process if its main thread hangs in a system call or a
 * loop and so cannot run timers.
 */
import { Worker } from 'node:worker_threads';

const WATCH = `
  const { workerData } = require('node:worker_threads');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, workerData);
  process.kill(process.pid, 'SIGKILL');
`;

/** Kills this process in `inMs` milliseconds unless it has ended by then. Does not keep it alive. */
export function killAt(inMs: number): void {
  const thread = new Worker(WATCH, { eval: true, workerData: inMs, stdout: true, stderr: true });
  thread.on('error', () => undefined);
  thread.unref();
}
