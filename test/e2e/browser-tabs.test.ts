/** The device SDK in a real browser, on pages of another origin than the administration server's. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Chromium, startChromium } from '../services/chromium.ts';
import { waitFor } from '../wait.ts';
import { servePage } from './browser-page.ts';
import { Lab } from './lab.ts';

let lab: Lab;
let chromium: Chromium;
let first = '';
const page = await servePage();

test.before(async () => {
  const adminFlags = ['--allowed-origins', `http://127.0.0.1:${page.port}`];
  [lab, chromium] = await Promise.all([Lab.start({ bus: 'memory', adminFlags }), startChromium()]);
});
test.after(async () => {
  await chromium?.stop();
  await lab?.stop();
  await page.stop();
});

async function open(tab: string, { host = '127.0.0.1', wait = false } = {}): Promise<string> {
  const token = await lab.operator.enrolmentToken('all', 1);
  const query = new URLSearchParams({
    tab,
    server: lab.deployment.server,
    token,
    ...(wait && { wait: '1' }),
  });
  return chromium.open(`http://${host}:${page.port}/?${query}`);
}

async function says(tab: string, what: string): Promise<string> {
  const find = () => page.reports.find((report) => report.tab === tab && report.what === what);
  await waitFor(() => find() !== undefined, { timeoutMs: 60_000, what: `tab ${tab}: ${what}` }).catch(
    (error) => {
      throw new Error(
        `${error.message}; said ${JSON.stringify(page.reports)}\n${chromium.output.slice(-2_000)}`,
      );
    },
  );
  return find()?.detail ?? '';
}

async function sync(device: string): Promise<object> {
  const { id } = await lab.operator.api.request<{ id: string }>('POST', '/v1/commands', {
    body: { type: 'sync', target: { devices: [device] } },
  });
  await lab.operator.finished(id, 60_000);
  const { state, data } = await lab.operator.api.get<{ state: string; data: unknown }>(
    `/v1/commands/${id}/executions/${device}`,
  );
  return { state, data };
}

test('a page of an allowed origin enrols and obeys; the preflight refuses other origins', async () => {
  const other = await open('other', { host: 'localhost' });
  assert.match(await says('other', 'refused'), /EnrollError: no answer from .*Failed to fetch/);
  await chromium.close(other);
  first = await open('first');
  const device = await says('first', 'connected');
  assert.equal(await sync(device), { state: 'succeeded', data: { revision: 'first' } });
});

test('a second tab with the same identity is refused or waits; it does not displace the first', async () => {
  const device = await says('first', 'connected');
  await open('second');
  assert.match(await says('second', 'refused'), /StoreInUse: kiosk is in use by another tab/);
  await open('third', { wait: true });
  assert.equal(await sync(device), { state: 'succeeded', data: { revision: 'first' } });
  assert.equal(page.of('third'), []);
  assert.equal(page.of('first'), ['open', 'connected']);
  await chromium.close(first);
  assert.is(await says('third', 'connected'), device, 'who waited is the same device');
  assert.equal(await sync(device), { state: 'succeeded', data: { revision: 'third' } });
});

test.run();
