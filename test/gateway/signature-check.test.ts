import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  createSignatureCheck,
  opensslCheck,
  type SignatureCheck,
  sodiumCheck,
} from '../../gateway/admission/signature-check.ts';

const sodium = sodiumCheck();
const checks: [string, SignatureCheck][] = [
  ['the one taken here', createSignatureCheck()],
  ['OpenSSL', opensslCheck],
];
if (sodium) checks.push(['libsodium', sodium]);

const { publicKey, privateKey } = generateKeyPairSync('ed25519');
const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x as string, 'base64url');
const message = randomBytes(100);
const signature = sign(null, message, privateKey);

for (const [name, isSigned] of checks) {
  test(`H-4: a signature verifies with its key, its message and nothing else (${name})`, () => {
    assert.is(isSigned(signature, message, raw), true);
    for (const [at, bytes] of [signature, message, raw].entries()) {
      const other = Buffer.from(bytes);
      other[3] = (other[3] as number) ^ 1;
      const given = [signature, message, raw].map((known, i) => (i === at ? other : known));
      assert.is(isSigned(...(given as [Buffer, Buffer, Buffer])), false);
    }
  });

  test(`an invalid signature or key verifies nothing, and nothing is thrown (${name})`, () => {
    for (const length of [0, 31, 32, 63, 65, 1_000]) {
      assert.is(isSigned(randomBytes(length), message, raw), false);
      if (length !== 32) assert.is(isSigned(signature, message, randomBytes(length)), false);
    }
    assert.is(isSigned(signature, message, new Uint8Array(32)), false);
    assert.is(isSigned(signature, new Uint8Array(), raw), false);
  });
}

test.run();
