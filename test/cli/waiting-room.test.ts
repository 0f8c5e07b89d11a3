import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, get } from 'node:https';
import { connect } from 'node:net';
import { pino } from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WaitingRoom } from '../../cli/programs/waiting-room.ts';
import { makeCertificates } from '../services/certificates.ts';
import { freePort, waitFor } from '../wait.ts';

test('a connection that never begins its TLS handshake does not delay the start', async () => {
  const certificates = await makeCertificates();
  const port = await freePort();
  const tls = { certFile: certificates.cert, keyFile: certificates.key };
  const room = new WaitingRoom({ host: '127.0.0.1', port, tls }, pino({ level: 'silent' }));
  await room.waitsFor('store', 'not there');
  const silent = connect(port, '127.0.0.1');
  silent.on('error', () => {});
  await once(silent, 'connect');
  // Connections are accepted in their order: once this one is answered, the server has the silent one. It is
  // kept open.
  const agent = new Agent({ keepAlive: true, ca: readFileSync(certificates.ca) });
  const status = await new Promise((resolve, reject) => {
    get(`https://localhost:${port}/live`, { agent, family: 4 }, (response) => {
      response.resume().once('end', () => resolve(response.statusCode));
    }).once('error', reject);
  });
  assert.is(status, 200);
  let left = false;
  const leaving = room
    .leave()
    .start()
    .then(() => {
      left = true;
    });
  try {
    await waitFor(() => left, { timeoutMs: 20_000, what: 'the port to be free' });
    await waitFor(() => silent.closed, { what: 'the silent connection to be closed' });
  } finally {
    silent.destroy();
    agent.destroy();
    await leaving;
    await certificates.remove();
  }
});

test.run();
