import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface Certificates {
  folder: string;
  /**
   * PEM files: the authority, and a certificate of 127.0.0.1 and localhost signed by it, good for servers and
   * clients.
   */
  ca: string;
  cert: string;
  key: string;
  remove(): Promise<void>;
}

const run = promisify(execFile);

/**
 * An authority and one certificate of the test's own, made with openssl; valid for a day. `more` names are on
 * it as well, as `IP:192.0.2.1`.
 */
export async function makeCertificates(more: readonly string[] = []): Promise<Certificates> {
  const folder = await mkdtemp(join(tmpdir(), 'certificates-'));
  const file = (name: string) => join(folder, name);
  const newKey = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await run('openssl', [
    ...newKey,
    ...['-days', '1', '-subj', '/CN=Pushpoint test authority'],
    ...['-keyout', file('ca.key'), '-out', file('ca.pem')],
  ]);
  await run('openssl', [
    ...newKey,
    ...['-days', '1', '-subj', '/CN=localhost', '-CA', file('ca.pem'), '-CAkey', file('ca.key')],
    ...[
      '-addext',
      `subjectAltName=${['DNS:localhost', 'IP:127.0.0.1', ...more].join(',')}`,
      '-addext',
      'basicConstraints=critical,CA:FALSE',
    ],
    ...['-keyout', file('own.key'), '-out', file('own.pem')],
  ]);
  return {
    folder,
    ca: file('ca.pem'),
    cert: file('own.pem'),
    key: file('own.key'),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
