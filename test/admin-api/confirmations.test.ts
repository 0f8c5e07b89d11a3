import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Letter } from '../../admin-api/best-effort-sender.ts';
import { Confirmations, type Reported } from '../../admin-api/ledger/confirmations.ts';
import { decodeGatewayMessage } from '../../protocol/index.ts';

const NOW = 1_795_341_600_000;

/** What is sent, with frames in words. */
async function sentFor(reported: Reported[], toCancel: { command: string; device: string }[] = []) {
  const sent: Letter[] = [];
  const confirmations = new Confirmations({
    sender: { send: async (letters) => void sent.push(...letters) },
    frames: { cancelForDevice: (id) => new TextEncoder().encode(`cancel ${id}`) },
    now: () => NOW,
  });
  await confirmations.send(reported, toCancel);
  return sent.map(({ frame, ...letter }) => ({
    ...letter,
    ...(frame && { says: frame[0] === 0x63 ? new TextDecoder().decode(frame) : decodeGatewayMessage(frame) }),
  }));
}

const row = (device: string, more: Partial<Reported> = {}): Reported => ({
  command: 'c1',
  device,
  state: 'succeeded',
  said: 'succeeded',
  worker: 'gw1/0',
  ofGroup: true,
  ...more,
});

test('R-6: the worker that brought results of a group command gets one letter for each end', async () => {
  const sent = await sentFor([
    row('d1'),
    row('d2'),
    row('d3', { worker: 'gw1/1' }),
    row('d4', { state: 'failed', said: 'failed' }),
    row('d5'),
  ]);
  assert.equal(sent, [
    { devices: ['d1', 'd2', 'd5'], worker: 'gw1/0', settled: { id: 'c1', state: 'succeeded' } },
    { devices: ['d3'], worker: 'gw1/1', settled: { id: 'c1', state: 'succeeded' } },
    { devices: ['d4'], worker: 'gw1/0', settled: { id: 'c1', state: 'failed' } },
  ]);
});

test('R-6: a device is told at once of its own commands, and of ends that it did not report', async () => {
  const sent = await sentFor([
    row('d1', { ofGroup: false }),
    row('d2', { state: 'timed-out' }),
    row('d3', { state: null, command: 'c9', ofGroup: false }),
  ]);
  const settled = (id: string, state: string) => ({ t: 'settled', id, state });
  assert.equal(sent, [
    { devices: ['d1'], worker: 'gw1/0', says: settled('c1', 'succeeded') },
    { devices: ['d2'], worker: 'gw1/0', says: settled('c1', 'timed-out') },
    { devices: ['d3'], worker: 'gw1/0', says: settled('c9', 'unknown') },
  ]);
});

test('R-2: a device that still runs an ended or canceled command is asked to stop', async () => {
  const sent = await sentFor(
    [row('d1', { said: 'running', worker: undefined })],
    [{ command: 'c2', device: 'd2' }],
  );
  assert.equal(sent, [
    { devices: ['d2'], says: 'cancel c2' },
    { devices: ['d1'], says: 'cancel c1' },
  ]);
});

test.run();
