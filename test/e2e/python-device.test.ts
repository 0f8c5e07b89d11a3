/** A device in Python, written from PROTOCOL.md alone: its enrolment at the real server, and its session. */
import { execFile, spawn } from 'node:child_process';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { DeviceView, ExecutionView } from '../../cli/api/views.ts';
import { type GatewayAddress, pkcs8, rawKey } from '../../protocol/index.ts';
import { connectDevice } from '../gateway/raw-device.ts';
import { makeResult } from '../results.ts';
import { ensurePython } from '../services/python.ts';
import { waitFor } from '../wait.ts';
import { type Lab, withLab } from './lab.ts';

const run = promisify(execFile);
const script = (name: string) => fileURLToPath(new URL(`../../../test/python/${name}`, import.meta.url));
const python = await ensurePython();

interface Kept {
  deviceId: string;
  groups: string[];
  secret: string;
  privateKey: string;
  gateways: GatewayAddress[];
}

const enrol = (lab: Lab, token: string) =>
  run(python, [script('enrol.py'), lab.deployment.server, token, 'a snake']);

/** What the device prints. */
interface Line {
  welcomed?: string;
  sent?: string;
  settled?: string;
  by?: string;
  id?: string;
}

/** A device at work; ended at the end. */
async function withDevice(
  lab: Lab,
  use: (lines: readonly Line[], exit: Promise<unknown>) => Promise<void>,
): Promise<void> {
  const token = await lab.operator.enrolmentToken('all', 1);
  const child = spawn(python, [script('device.py'), lab.deployment.server, token, 'a python'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines: Line[] = [];
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const all = `${rest}${text}`.split('\n');
    rest = all.pop() ?? '';
    lines.push(...all.map((line) => JSON.parse(line) as Line));
  });
  const exit = once(child, 'exit');
  try {
    await use(lines, exit);
  } finally {
    child.stdin.end();
    const [status] = await exit;
    assert.is(status, 0);
  }
}

const { testLab } = withLab({ bus: 'memory' });

testLab(
  'E-1 to E-4: a device in Python enrols, and its secret authenticates what the ledger takes',
  async (lab) => {
    const { stdout } = await enrol(lab, await lab.operator.enrolmentToken('all', 1));
    const kept = JSON.parse(stdout) as Kept;
    assert.equal(kept.groups, ['all']);
    const seed = Buffer.from(kept.privateKey, 'hex');
    const der = Buffer.from(pkcs8('Ed25519', seed));
    const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    const publicKey = rawKey(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }));
    const secret = Buffer.from(kept.secret, 'hex');
    const identity = { id: kept.deviceId, privateKey, publicKey, secret };
    const { device } = await connectDevice(kept.gateways[0]?.url ?? '', identity, { membership: [0, 0] });
    const command = await lab.operator.api.request<{ id: string }>('POST', '/v1/commands', {
      body: { type: 'sync', target: { devices: [identity.id] } },
    });
    device.send(makeResult(identity, command.id));
    assert.equal(await device.take('settled'), { t: 'settled', id: command.id, state: 'succeeded' });
    await device.close();
  },
);

testLab(
  'B-5, D-3, D-8, R-1, R-6: it says its status, sends a result alone or an ack first, stops what is ' +
    'canceled, and learns of all ends',
  (lab) =>
    withDevice(lab, async (lines, exit) => {
      const line = (is: (line: Line) => boolean, what: string): Promise<Line> =>
        Promise.race([
          waitFor(() => lines.find(is), { what: `${what} among ${JSON.stringify(lines)}` }),
          exit.then(() => assert.unreachable('the device ended')),
        ]) as Promise<Line>;
      const { welcomed: device } = await line(({ welcomed }) => welcomed !== undefined, 'a welcome');
      const reads = async () => {
        const { policy, compliance } = await lab.operator.api.get<DeviceView>(`/v1/devices/${device}`);
        return `${policy} ${compliance}`;
      };
      // B-5: the ledger takes what it says of itself.
      await waitFor(async () => (await reads()) === 'python-1 compliant', { what: 'its status' });
      const ask = (body: object): Promise<{ id: string }> =>
        lab.operator.api.request('POST', '/v1/commands', { body });
      const sentOf = (command: string) =>
        lines.filter(({ sent, id }) => sent && id === command).map(({ sent }) => sent);

      const group = await ask({ type: 'sync', target: { all: true } });
      const byBeat = await line(({ settled }) => settled === group.id, 'a settled command');
      assert.is(byBeat.by, 'beat');
      assert.equal(sentOf(group.id), ['result']);
      const path = `/v1/commands/${group.id}/executions/${device}`;
      const { state, ackedAt, finishedAt } = await lab.operator.api.get<ExecutionView>(path);
      assert.is(state, 'succeeded');
      assert.is(ackedAt, finishedAt);

      const args = { task: 'backup' };
      const named = await ask({ type: 'task.start', args, target: { devices: [device] } });
      const alone = await line(({ settled }) => settled === named.id, 'a settled command');
      assert.is(alone.by, 'settled');
      assert.equal(sentOf(named.id), ['ack', 'result']);

      const endless = { type: 'task.start', args: { task: 'endless' }, target: { devices: [device] } };
      const { id: stopped } = await ask(endless);
      await line(({ sent, id }) => sent === 'ack' && id === stopped, 'an ack');
      await lab.operator.api.request('POST', `/v1/commands/${stopped}/cancel`);
      await line(({ settled }) => settled === stopped, 'a settled command');
      const end = await lab.operator.api.get<ExecutionView>(`/v1/commands/${stopped}/executions/${device}`);
      assert.is(end.state, 'canceled');
      // A cancel may come twice; the outcome is then said again.
      assert.equal([...new Set(sentOf(stopped))], ['ack', 'result']);
    }),
);

testLab('E-4, E-6: it believes no other installation, and stops when its server refuses', async (lab) => {
  const token = await lab.operator.enrolmentToken('all', 1);
  const [head, id, seed] = token.split('.');
  const foreign = [head, id, seed, Buffer.alloc(32, 9).toString('base64url')].join('.');
  const refusal = (asked: Promise<unknown>): Promise<string> =>
    asked.then(
      () => 'enrolled',
      ({ stderr }) => stderr.trim(),
    );
  assert.is(await refusal(enrol(lab, foreign)), 'not believed: another installation than the token names');
  assert.match(await refusal(enrol(lab, token)), /^refused: This enrolment token is used up/);
});

test.run();
