import { createHmac, randomBytes } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DeviceSecrets } from '../../admin-api/device-secrets.ts';
import { createMac, opensslMac, sameMac, sodiumMac } from '../../admin-api/message-code.ts';
import { nodeCrypto } from '../../device/index.ts';
import { webCrypto } from '../../device/platform/crypto-web.ts';
import { deviceSecretBytes, RESULT_KEY_BYTES, resultBytes } from '../../protocol/index.ts';
import { makeResult } from '../results.ts';

test('R-8: libsodium, OpenSSL and WebCrypto make the same codes', async () => {
  for (const length of [0, 1, 127, 128, 300, 40_000]) {
    const key = randomBytes(32);
    const bytes = randomBytes(length);
    const expected = createHmac('sha512', key).update(bytes).digest().subarray(0, 32);
    for (const mac of [createMac(), opensslMac, sodiumMac()]) {
      if (mac) assert.equal(Buffer.from(mac(key, bytes)), expected);
    }
    for (const crypto of [nodeCrypto, webCrypto]) {
      assert.equal(Buffer.from(await crypto.mac(key, bytes)), expected);
    }
  }
});

test('R-8: a secret is for one device and one generation, and its codes for one command and body', () => {
  const master = randomBytes(32);
  for (const mac of [createMac(), opensslMac]) {
    const secrets = new DeviceSecrets(master, mac);
    const secret = secrets.of('d1', 1);
    assert.equal(Buffer.from(secret), Buffer.from(opensslMac(master, deviceSecretBytes('d1', 1))));
    for (const other of [secrets.of('d1', 2), secrets.of('d', 1), secrets.of('d11', 1)]) {
      assert.not(sameMac(secret, other));
    }
    const { body, mac: code } = makeResult({ id: 'd1', secret }, 'c1');
    const key = opensslMac(secret, RESULT_KEY_BYTES);
    assert.equal(Buffer.from(code), Buffer.from(opensslMac(key, resultBytes('d1', 'c1', body))));
    const made = { device: 'd1', command: 'c1', body, mac: code };
    assert.ok(secrets.made(made, 1));
    assert.not(secrets.made(made, 2));
    assert.not(secrets.made({ ...made, device: 'd2' }, 1));
    assert.not(secrets.made({ ...made, command: 'c2' }, 1));
    // The zero byte keeps "d1" + "c1" apart from "d" + "1c1".
    assert.not(secrets.made({ ...made, device: 'd', command: '1c1' }, 1));
    assert.not(secrets.made({ ...made, body: body.map((byte) => byte ^ 1) }, 1));
    for (let at = 0; at < 32; at++) {
      assert.not(secrets.made({ ...made, mac: code.map((byte, i) => (i === at ? byte ^ 1 : byte)) }, 1));
    }
    assert.not(secrets.made({ ...made, mac: code.subarray(1) }, 1));
  }
});

test.run();
