import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WorkerSlot } from '../../gateway/supervisor/worker-slot.ts';
import type { WorkerState } from '../../gateway/worker-status.ts';
import { waitFor } from '../wait.ts';

/** A process that does what the test says. */
class PlayedProcess extends EventEmitter {
  readonly connected = true;
  readonly pid = 4_711;
  readonly signals: string[] = [];

  send(): boolean {
    return true;
  }

  kill(signal: string): boolean {
    this.signals.push(signal);
    setImmediate(() => this.emit('exit', 0, null));
    return true;
  }

  say(live: boolean): void {
    this.emit('message', { t: 'state', state: { live, incarnation: 'i' } as WorkerState });
  }
}

test('a worker whose loops are stuck leaves in order, and another process comes in its place', async () => {
  const processes: PlayedProcess[] = [];
  const released: (string | null)[] = [];
  const slot = new WorkerSlot(
    'gw1/0',
    () => {
      const made = new PlayedProcess();
      processes.push(made);
      setImmediate(() => made.emit('message', { t: 'started' }));
      return made as unknown as ChildProcess;
    },
    { changed: () => {}, clearPort: async () => {}, ended: (incarnation) => released.push(incarnation) },
    pino({ level: 'silent' }),
  );
  const beganAt = Date.now();
  await slot.start();
  const [first] = processes as [PlayedProcess];
  first.say(true);
  assert.is(slot.state, 'running');
  assert.ok(slot.stateSince >= beganAt && slot.stateSince <= Date.now());
  assert.equal(first.signals, []);
  first.say(false);
  first.say(false);
  assert.equal(first.signals, ['SIGTERM'], 'asked once');
  await waitFor(() => processes.length === 2 && slot.state === 'running');
  assert.equal([slot.restarts, released], [1, ['i']]);
  processes[1]?.say(true);
  const stopping = slot.stop(1_000);
  processes[1]?.emit('exit', 0, null);
  await stopping;
  assert.is(slot.state, 'stopped');
});

test.run();
