/** A device in Python, written from PROTOCOL.md alone: its enrolment at the real server, then its session. */
import { execFile } from 'node:child_process';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type GatewayAddress, pkcs8, rawKey } from '../../protocol/index.ts';
import { connectDevice } from '../gateway/raw-device.ts';
import { sealResult } from '../results.ts';
import { type Lab, withLab } from './lab.ts';

const run = promisify(execFile);
const SCRIPT = fileURLToPath(new URL('../../../test/python/enrol.py', import.meta.url));
const hasPython = await run('python3', ['-c', 'import cryptography']).then(
  () => true,
  () => false,
);

interface Kept {
  deviceId: string;
  groups: string[];
  secret: string;
  privateKey: string;
  gateways: GatewayAddress[];
}

const enrol = (lab: Lab, token: string) => run('python3', [SCRIPT, lab.deployment.server, token, 'a snake']);

if (hasPython) {
  const { testLab } = withLab({ bus: 'memory' });

  testLab(
    'E-1 to E-4: a device in Python enrols, and its secret seals what the ledger takes',
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
      device.send(sealResult(identity, command.id));
      assert.equal(await device.take('settled'), { t: 'settled', id: command.id, state: 'succeeded' });
      await device.close();
    },
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
} else {
  console.log('python3 with the package `cryptography` is not here: nothing is tested');
}

test.run();
