import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { nodeCrypto } from '../../device/index.ts';
import { webCrypto } from '../../device/platform/crypto-web.ts';
import { nodeHpke } from '../../protocol/hpke-node.ts';
import { type HpkePlatform, openSealed, sealTo } from '../../protocol/index.ts';
import { SMALL_ORDER_X25519 } from './small-order.ts';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));

/**
 * Base mode of DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM in the test vectors that RFC 9180 refers
 * to (cfrg/draft-irtf-cfrg-hpke, test-vectors.json), the first message.
 */
const RFC_9180 = {
  info: hex('4f6465206f6e2061204772656369616e2055726e'),
  associated: hex('436f756e742d30'),
  message: hex('4265617574792069732074727574682c20747275746820626561757479'),
  ephemeral: {
    publicKey: hex('6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256'),
    privateKey: hex('179d4b53b6365c45b600c4163b61d95cbc2f4d9e36f1695558dce265ab8bab11'),
  },
  pair: {
    publicKey: hex('430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c'),
    privateKey: hex('497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d'),
  },
  ct: hex('e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a'),
};

const platforms: [string, HpkePlatform][] = [
  ['node:crypto', nodeHpke],
  ['WebCrypto', webCrypto],
];

for (const [name, platform] of platforms) {
  test(`E-3: ${name} seals and opens the test vector of RFC 9180`, async () => {
    const { info, associated, message, ephemeral, pair, ct } = RFC_9180;
    const fixed = { ...platform, generateX25519: () => ephemeral };
    const purpose = { platform: fixed, info, associated };
    const sealed = await sealTo({ ...purpose, publicKey: pair.publicKey, message });
    assert.equal(sealed, { enc: ephemeral.publicKey, ct });
    assert.equal(await openSealed({ ...purpose, pair, sealed }), message);
  });

  test(`E-3: ${name} opens nothing that was changed or is for another key or purpose`, async () => {
    const pair = await platform.generateX25519();
    const info = hex('01');
    const message = hex('6869');
    const purpose = { platform, info };
    const sealed = await sealTo({ ...purpose, publicKey: pair.publicKey, message });
    const good = { ...purpose, pair, sealed };
    assert.equal(await openSealed(good), message);
    const flipped = (bytes: Uint8Array) => bytes.map((byte, at) => (at === 0 ? byte ^ 1 : byte));
    for (const bad of [
      { ...good, info: hex('02') },
      { ...good, associated: hex('00') },
      { ...good, pair: await platform.generateX25519() },
      { ...good, sealed: { ...sealed, enc: flipped(sealed.enc) } },
      { ...good, sealed: { ...sealed, ct: flipped(sealed.ct) } },
      { ...good, sealed: { ...sealed, ct: sealed.ct.slice(0, -1) } },
      { ...good, sealed: { ...sealed, ct: hex('00') } },
    ]) {
      assert.ok(await fails(openSealed(bad)));
    }
  });

  test(`E-3: ${name} agrees on nothing with a key of small order`, async () => {
    const pair = await platform.generateX25519();
    for (const key of SMALL_ORDER_X25519) {
      assert.ok(await fails((async () => platform.x25519(pair.privateKey, key))()));
    }
  });
}

test('what one platform seals, the other opens', async () => {
  for (const [from, to] of [
    [nodeCrypto, webCrypto],
    [webCrypto, nodeCrypto],
  ] as const) {
    const pair = await to.generateX25519();
    const info = hex('00ff');
    const message = new Uint8Array(32).fill(7);
    const sealed = await sealTo({ platform: from, info, publicKey: pair.publicKey, message });
    assert.equal(await openSealed({ platform: to, info, pair, sealed }), message);
  }
});

const fails = (promise: Promise<unknown>): Promise<boolean> =>
  promise.then(
    () => false,
    () => true,
  );

test.run();
