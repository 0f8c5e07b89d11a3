import { fork } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { waitFor } from '../wait.ts';
import { connectDevice } from './raw-device.ts';
import type { WorkerReport } from './worker-process.ts';

test('a worker process paused for longer than its lease keeps its devices under a new lease', async () => {
  const child = fork(fileURLToPath(new URL('./worker-process.js', import.meta.url)));
  const reports: WorkerReport[] = [];
  child.on('message', (message) => reports.push(message as WorkerReport));
  try {
    const started = await waitFor(() => reports.find((report) => report.kind === 'started'));
    const { device, session } = await connectDevice(started.url, {
      id: started.device,
      privateKey: createPrivateKey(started.privateKey),
      publicKey: new Uint8Array(),
    });
    const sessions = () => reports.flatMap((report) => (report.kind === 'connected' ? [report] : []));
    await waitFor(() => sessions().length >= 1);
    child.kill('SIGSTOP');
    device.send({ t: 'beat' });
    await new Promise((resolve) => setTimeout(resolve, 600));
    child.kill('SIGCONT');
    // On a busy machine a lease this short may be lost once more.
    const stopped = sessions().length;
    await waitFor(() => sessions().length > stopped);
    const before = sessions()[0];
    const after = sessions().at(-1);
    assert.is(before?.session, session);
    assert.ok((after?.session ?? 0) > session);
    assert.is.not(after?.incarnation, before?.incarnation);
    await device.take('beat');
    device.send({ t: 'beat' });
    await device.take('beat');
    assert.is(device.closing, null);
  } finally {
    child.disconnect();
    await once(child, 'exit');
  }
});

test.run();
