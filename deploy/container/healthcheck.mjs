/**
 * The container's health: exit code 0 when everything the ready file names answers `/live`. The ready file
 * says which program runs here and on which ports; one that has none (the agent) lives when it wrote the
 * file. A program that waits for Redis or PostgreSQL has not written it, and answers on one of the ports it
 * is set to.
 */
import { existsSync, readFileSync } from 'node:fs';
import { get as getHttp } from 'node:http';
import { get as getHttps } from 'node:https';

const TIMEOUT_MS = 3_000;

const file = process.env.PUSHPOINT_READY_FILE;
if (!file) throw new Error('PUSHPOINT_READY_FILE must name the ready file of the program');
if (existsSync(file)) await lives(JSON.parse(readFileSync(file, 'utf8')));
else await waits();

async function lives({ api, apiPort, metricsPort }) {
  const urls = [];
  if (apiPort) urls.push(`${new URL(api).protocol}//127.0.0.1:${apiPort}/live`);
  if (metricsPort) urls.push(`http://127.0.0.1:${metricsPort}/live`);
  await Promise.all(urls.map(answers));
}

async function waits() {
  const { PUSHPOINT_API_LISTEN_PORT, PUSHPOINT_API_TLS_CERT, PUSHPOINT_METRICS_LISTEN_PORT } = process.env;
  const scheme = PUSHPOINT_API_TLS_CERT ? 'https' : 'http';
  await Promise.any([
    answers(`${scheme}://127.0.0.1:${PUSHPOINT_API_LISTEN_PORT || 8080}/live`),
    answers(`http://127.0.0.1:${PUSHPOINT_METRICS_LISTEN_PORT || 14295}/live`),
  ]);
}

function answers(url) {
  return new Promise((resolve, reject) => {
    // On loopback, and the certificate is for another name.
    const options = { timeout: TIMEOUT_MS, rejectUnauthorized: false };
    const request = (url.startsWith('https:') ? getHttps : getHttp)(url, options, (response) => {
      response.resume();
      if (response.statusCode === 200) resolve();
      else reject(new Error(`${url} answered ${response.statusCode}`));
    });
    request.once('timeout', () => request.destroy(new Error(`${url}: no answer within ${TIMEOUT_MS} ms`)));
    request.once('error', reject);
  });
}
