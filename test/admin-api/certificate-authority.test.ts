import 'reflect-metadata';
import { createHash, generateKeyPairSync, webcrypto, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509';
import pino from 'pino';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { KeyBox, PlainBox } from '../../admin-api/at-rest/secret-box.ts';
import { CertificateAuthority } from '../../admin-api/pki/certificate-authority.ts';
import { readRequest } from '../../admin-api/pki/issued-certificates.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import type { Store } from '../../admin-api/store/store.ts';
import { rejects } from './store-fixtures.ts';

const DAY_MS = 86_400_000;
const installation = { id: 'i1' };
const box = new KeyBox(Buffer.alloc(32, 7));
const now = () => Date.parse('2026-05-01T12:00:00Z');

const test = suite<{ folder: string; store: Store }>('certificate authority');

test.before.each(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'authority-'));
  context.store = openStore({ dataDir: context.folder, log: pino({ level: 'silent' }) });
  await context.store.start();
});
test.after.each(async ({ folder, store }) => {
  await store.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function request(name: string, curve = 'P-256') {
  const algorithm = { name: 'ECDSA', namedCurve: curve };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const csr = await Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [name] }],
    keys: keys,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
  });
  return new Uint8Array(csr.rawData);
}

async function read(der: Uint8Array, name: string) {
  const found = await readRequest(der, name);
  if (!found) throw new Error('the request was refused');
  return found;
}

test('the first start makes an authority, and later starts and other servers use it', async ({ store }) => {
  const authority = new CertificateAuthority({ store, secretBox: box, installation, now });
  const another = new CertificateAuthority({ store, secretBox: box, installation, now });
  await Promise.all([authority.ensureFirst(), another.ensureFirst()]);
  await authority.ensureFirst();
  const all = await store.authorities.all();
  assert.equal(
    all.map(({ number, state }) => [number, state]),
    [[1, 'current']],
  );
  const certificate = new X509Certificate(all[0]?.certificate ?? '');
  assert.is(certificate.ca, true);
  assert.is(certificate.verify(certificate.publicKey), true);
  assert.is(certificate.subject, 'CN=Pushpoint i1 authority 1');
  assert.equal(certificate.publicKey.asymmetricKeyDetails, { namedCurve: 'prime256v1' });
});

test('a certificate names its gateway, verifies, and is fit for both ends of TLS', async ({ store }) => {
  const authority = new CertificateAuthority({ store, secretBox: box, installation, now });
  await authority.ensureFirst();
  const csr = await read(await request('gw1'), 'gw1');
  const issued = await store.transaction((tx) => authority.issue(tx, 'gw1', csr));
  const [root] = issued.trusted.map((der) => new X509Certificate(der));
  const certificate = new X509Certificate(issued.certificate);
  assert.ok(root && certificate.verify(root.publicKey) && certificate.checkIssued(root));
  assert.is(certificate.ca, false);
  assert.is(certificate.subject, 'CN=gw1');
  assert.is(certificate.subjectAltName, 'DNS:gw1, URI:urn:pushpoint:gateway:gw1');
  assert.is(certificate.checkHost('gw1', { subject: 'never' }), 'gw1');
  assert.equal(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2', '1.3.6.1.5.5.7.3.1']);
  assert.is(certificate.serialNumber.toLowerCase(), issued.record.serial);
  assert.is(Date.parse(certificate.validTo), now() + 30 * DAY_MS);
  assert.ok(Date.parse(certificate.validFrom) <= now());
  const spki = certificate.publicKey.export({ format: 'der', type: 'spki' });
  const stored = await store.gatewayCertificates.get(issued.record.serial);
  assert.ok(stored && createHash('sha256').update(spki).digest().equals(stored.keyHash));
});

test('a request is refused for another name, another curve, or a signature of another key', async () => {
  const der = await request('gw1');
  assert.ok(await readRequest(der, 'gw1'));
  assert.is(await readRequest(der, 'gw2'), null);
  assert.is(await readRequest(await request('gw1', 'P-384'), 'gw1'), null);
  const forged = Uint8Array.from(der);
  forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
  assert.is(await readRequest(forged, 'gw1'), null);
  assert.is(await readRequest(new Uint8Array(3_000), 'gw1'), null);
  assert.is(await readRequest(Buffer.from('nonsense'), 'gw1'), null);
  const { publicKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ format: 'der', type: 'spki' });
  assert.is(await readRequest(raw, 'gw1'), null);
});

test('its key is encrypted at rest, also one from before there was a key to encrypt it', async ({
  store,
}) => {
  const plain = new CertificateAuthority({ store, secretBox: new PlainBox(), installation, now });
  await plain.ensureFirst();
  const [before] = await store.authorities.all();
  const sealed = new CertificateAuthority({ store, secretBox: box, installation, now });
  await sealed.ensureFirst();
  const [after] = await store.authorities.all();
  assert.match(after?.sealedKey ?? '', /^aes256gcm:/);
  assert.equal(
    await box.open('key of authority 1', after?.sealedKey ?? ''),
    Buffer.from(before?.sealedKey ?? '', 'base64'),
  );
  const csr = await read(await request('gw1'), 'gw1');
  await store.transaction((tx) => sealed.issue(tx, 'gw1', csr));
  const otherBox = new KeyBox(Buffer.alloc(32, 8));
  const other = new CertificateAuthority({ store, secretBox: otherBox, installation, now });
  await rejects(
    store.transaction((tx) => other.issue(tx, 'gw1', csr)),
    (error) => assert.match(error.message, /key of authority 1 .* encrypted with key/),
  );
});

test.run();
