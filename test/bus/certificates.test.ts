import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { Registry } from 'prom-client';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readTlsFiles } from '../../bus/tls/certificate.ts';
import { Certificates } from '../../bus/tls/certificates.ts';
import { makeCertificates, type Certificates as Pair } from '../services/certificates.ts';
import { waitFor } from '../wait.ts';

const folder = mkdtempSync(join(tmpdir(), 'watched-'));
const [first, second] = (await Promise.all([makeCertificates(), makeCertificates()])) as [Pair, Pair];
const files = { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') };

function install({ cert, key }: Pair): void {
  copyFileSync(cert, files.certFile);
  copyFileSync(key, files.keyFile);
}

/** A program that serves with the pair in `files`. */
function watching() {
  const certificates = new Certificates(pino({ level: 'silent' }), { lookMs: 10 });
  const taken: Buffer[] = [];
  const stop = certificates.watch({
    name: 'api',
    files: Object.values(files),
    certFile: files.certFile,
    take: () => taken.push(readTlsFiles(files).cert),
  });
  const registry = new Registry();
  certificates.register(registry);
  const figure = async (name: string) =>
    Number(new RegExp(`^${name}\\{certificate="api"\\} (\\S+)`, 'm').exec(await registry.metrics())?.[1]);
  return { certificates, taken, stop, figure };
}

test.after(async () => {
  await Promise.all([first.remove(), second.remove()]);
  rmSync(folder, { recursive: true, force: true });
});

test('files that change are taken up, once', async () => {
  install(first);
  const { certificates, taken, stop, figure } = watching();
  install(second);
  await waitFor(() => taken.length > 0, { what: 'the other pair' });
  assert.ok(taken.at(-1)?.equals(readTlsFiles(files).cert));
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.is(taken.length, 1);
  assert.is(certificates.report()?.warnings, undefined);
  const days = await figure('pushpoint_certificate_days_left');
  assert.ok(days > 0.9 && days <= 1, `${days}`);
  stop();
  assert.is(certificates.report(), null);
});

test('files that do not match change nothing; health and metrics report them until they do', async () => {
  install(first);
  const { certificates, taken, stop, figure } = watching();
  copyFileSync(second.key, files.keyFile);
  const warned = () => certificates.warnings().join();
  await waitFor(() => warned() !== '', { what: 'the warning' });
  assert.match(warned(), /^api: TLS files .* are not usable: .*; the files read before stay in use$/);
  assert.is(await figure('pushpoint_certificate_usable'), 0);
  assert.is(taken.length, 0);
  rmSync(files.keyFile);
  await waitFor(() => /ENOENT/.test(warned()), { what: 'the other reason' });
  copyFileSync(second.cert, files.certFile);
  copyFileSync(second.key, files.keyFile);
  await waitFor(() => warned() === '', { what: 'the warning to end' });
  assert.is(await figure('pushpoint_certificate_usable'), 1);
  stop();
});

test('a certificate that ended is a warning, and has less than no days left', async () => {
  install(first);
  const { certificates, stop } = watching();
  assert.equal(certificates.warnings(), []);
  const inTwoDays = Date.now() + 2 * 86_400_000;
  assert.match(certificates.warnings(inTwoDays).join(), /^api: the certificate in .* ended 20\d\d-/);
  stop();
});

test('files are read again when somebody asks for it, although they did not change', () => {
  install(first);
  const { certificates, taken, stop } = watching();
  certificates.reread();
  assert.is(taken.length, 1);
  writeFileSync(files.certFile, 'not a certificate');
  certificates.reread();
  assert.is(taken.length, 1);
  assert.match(certificates.warnings().join(), /not usable/);
  stop();
});

test.run();
