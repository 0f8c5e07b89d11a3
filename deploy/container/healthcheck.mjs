/**
 * The container's health: exit code 0 when everything the ready file names answers `/live`. The ready file says which program
 * runs here and on which ports; one that has none (the agent) lives when it wrote the file.
 */
import { readFileSync } from 'node:fs';
import { get as getHttp } from 'node:http';
import { get as getHttps } from 'node:https';

const TIMEOUT_MS = 3_000;

const file = process.env.PUSHPOINT_READY_FILE;
if (!file) throw new Error('PUSHPOINT_READY_FILE must name the ready file of the program');
const { api, apiPort, metricsPort } = JSON.parse(readFileSync(file, 'utf8'));
const urls = [];
if (apiPort) urls.push(`${new URL(api).protocol}//127.0.0.1:${apiPort}/live`);
if (metricsPort) urls.push(`http://127.0.0.1:${metricsPort}/live`);
await Promise.all(urls.map(answers));

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
