/** The internal authority, certificates of gateways, and tokens to join. */
import * as assert from 'uvu/assert';
import type { GatewayCertificate, JoinToken } from '../../admin-api/store/pki-records.ts';
import { T0 } from './store-fixtures.ts';
import type { Rule } from './store-under-test.ts';

const bytes = (value: number) => new Uint8Array(32).fill(value);

const token = (change: Partial<JoinToken> = {}): JoinToken => ({
  id: 'j1',
  gateway: 'gw1',
  publicKey: bytes(1),
  expiresAt: T0 + 100,
  createdAt: T0,
  createdBy: 'token-1',
  revokedAt: null,
  usedAt: null,
  ...change,
});

const certificate = (serial: string, change: Partial<GatewayCertificate> = {}): GatewayCertificate => ({
  serial,
  gateway: 'gw1',
  keyHash: bytes(2),
  authority: 1,
  issuedAt: T0,
  expiresAt: T0 + 100,
  revokedAt: null,
  ...change,
});

export function pkiRules(rule: Rule): void {
  rule('the number of an authority is used once, and its state changes', async (store) => {
    const authority = {
      number: 1,
      state: 'current' as const,
      certificate: bytes(7),
      sealedKey: 'sealed',
      createdAt: T0,
      expiresAt: T0 + 5,
    };
    assert.is(await store.authorities.create(authority), true);
    assert.is(await store.authorities.create({ ...authority, sealedKey: 'another' }), false);
    assert.is(await store.authorities.create({ ...authority, number: 2, state: 'next' }), true);
    await store.transaction(async (tx) => {
      await tx.authorities.lock();
      await tx.authorities.setState(1, 'old');
      await tx.authorities.setState(2, 'current');
      await tx.authorities.setSealedKey(2, 'again');
    });
    const all = await store.authorities.all();
    assert.equal(
      all.map(({ number, state, sealedKey }) => [number, state, sealedKey]),
      [
        [1, 'old', 'sealed'],
        [2, 'current', 'again'],
      ],
    );
    assert.equal(new Uint8Array(all[0]?.certificate ?? []), bytes(7));
    await store.authorities.delete(1);
    assert.equal(
      (await store.authorities.all()).map(({ number }) => number),
      [2],
    );
  });

  rule('revoking a gateway revokes all its certificates, once', async (store) => {
    const { gatewayCertificates: certificates } = store;
    await certificates.create(certificate('a1'));
    await certificates.create(certificate('a2', { issuedAt: T0 + 1, expiresAt: T0 + 200 }));
    await certificates.create(certificate('b1', { gateway: 'gw2' }));
    assert.equal(await certificates.revocations(), []);
    assert.equal((await certificates.revoke('gw1', T0 + 2)).sort(), ['a1', 'a2']);
    assert.equal(await certificates.revocations(), [{ gateway: 'gw1', at: T0 + 2, all: true }]);
    assert.equal(await certificates.revoke('gw1', T0 + 3), []);
    assert.is((await certificates.get('a1'))?.revokedAt, T0 + 2);
    assert.is((await certificates.get('b1'))?.revokedAt, null);
    assert.is(await certificates.get('c1'), null);
    assert.equal(
      (await certificates.ofGateway('gw1')).map(({ serial }) => serial),
      ['a2', 'a1'],
    );
    assert.equal(
      (await certificates.unexpired(T0 + 100)).map(({ serial }) => serial),
      ['a2'],
    );
    await certificates.create(certificate('a3', { issuedAt: T0 + 5, expiresAt: T0 + 300 }));
    assert.equal(await certificates.revocations(), [{ gateway: 'gw1', at: T0 + 2, all: false }]);
    assert.equal(
      [await certificates.countSince('gw1', T0 + 1), await certificates.countSince('gw2', 0)],
      [2, 1],
    );
    assert.is(await certificates.prune(T0 + 101), 2);
    assert.equal([await certificates.get('a1'), await certificates.get('b1')], [null, null]);
    await certificates.revoke('gw1', T0 + 6);
    assert.is(await certificates.prune(T0 + 1_000), 1);
    assert.equal(await certificates.revocations(), [{ gateway: 'gw1', at: T0 + 6, all: true }]);
  });

  rule('a token to join is for one key, which may ask again', async (store) => {
    const { joinTokens: tokens } = store;
    await tokens.create(token());
    assert.equal(await tokens.use('j2', bytes(5), T0), { refused: 'unknown' });
    assert.equal(await tokens.use('j1', bytes(5), T0 + 100), { refused: 'expired' });
    assert.equal(await tokens.use('j1', bytes(5), T0 + 1), token({ usedAt: T0 + 1 }));
    assert.equal(await tokens.use('j1', bytes(5), T0 + 2), token({ usedAt: T0 + 1 }));
    assert.equal(await tokens.use('j1', bytes(6), T0 + 3), { refused: 'used-up' });
    assert.is(await tokens.revoke('j1', T0 + 4), true);
    assert.is(await tokens.revoke('j1', T0 + 5), false);
    assert.equal(await tokens.use('j1', bytes(5), T0 + 6), { refused: 'revoked' });
    assert.is((await tokens.get('j1'))?.revokedAt, T0 + 4);
    assert.is((await tokens.list({ limit: 10 }, 'gateways')).items.length, 1);
  });

  rule('of the tokens of a gateway, those that could still be used are revoked together', async (store) => {
    const { joinTokens: tokens } = store;
    await tokens.create(token());
    await tokens.create(token({ id: 'j2' }));
    await tokens.create(token({ id: 'j3', gateway: 'gw2' }));
    await tokens.create(token({ id: 'j4', expiresAt: T0 + 2 }));
    await tokens.create(token({ id: 'j5' }));
    await tokens.use('j1', bytes(5), T0 + 1);
    assert.equal((await tokens.revokeOpen('gw1', T0 + 2)).sort(), ['j2', 'j5']);
    assert.equal(await tokens.revokeOpen('gw1', T0 + 3), []);
    assert.is((await tokens.get('j2'))?.revokedAt, T0 + 2);
    for (const id of ['j1', 'j3', 'j4']) assert.is((await tokens.get(id))?.revokedAt, null, id);
  });

  rule('of two keys that use a token at once, one is let in', async (store) => {
    await store.joinTokens.create(token());
    const uses = await Promise.all([3, 4].map((value) => store.joinTokens.use('j1', bytes(value), T0)));
    assert.equal(
      uses.filter((use) => 'refused' in use),
      [{ refused: 'used-up' }],
    );
  });
}
