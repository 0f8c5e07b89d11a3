/** `since` and `until`: from a time on, and before it. */
import { request as send } from 'node:http';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Http, startHttp } from './http-harness.ts';
import { report, sent } from './store-fixtures.ts';

let http: Http;
let device: string;
/** Issued ten seconds apart. */
const commands: { id: string; issuedAt: string }[] = [];
test.before(async () => {
  http = await startHttp();
  device = await http.enrol();
  for (let i = 0; i < 3; i++) {
    const body = { type: 'sync', target: { devices: [device] }, collapseKey: null };
    commands.push((await http.call('POST', '/v1/commands', { body })).body);
    http.clock.offsetMs += 10_000;
  }
});
test.after(() => http.stop());

const [first, second, third] = [0, 1, 2].map((n) => () => commands[n] as { id: string; issuedAt: string });
const shift = (time: string, ms: number) => new Date(Date.parse(time) + ms).toISOString();

async function listed(path: string, query: Record<string, string>, key = 'id'): Promise<string[]> {
  const { status, body } = await http.call('GET', `${path}?${new URLSearchParams(query)}`);
  assert.is(status, 200, JSON.stringify(body));
  return body.items.map((item: Record<string, string>) => item[key]);
}

test('commands and executions of a device: since includes its moment, until does not', async () => {
  for (const [path, key] of [
    ['/v1/commands', 'id'],
    [`/v1/devices/${device}/executions`, 'commandId'],
  ] as const) {
    const [a, b, c] = [first?.(), second?.(), third?.()].map((each) => each as (typeof commands)[0]);
    assert.equal(await listed(path, { since: b?.issuedAt ?? '' }, key), [c?.id, b?.id]);
    assert.equal(await listed(path, { until: b?.issuedAt ?? '' }, key), [a?.id]);
    assert.equal(await listed(path, { since: b?.issuedAt ?? '', until: c?.issuedAt ?? '' }, key), [b?.id]);
    assert.equal(await listed(path, { since: shift(c?.issuedAt ?? '', 1) }, key), []);
  }
  const sameMoment = second?.().issuedAt.replace('Z', '+00:00') ?? '';
  assert.equal((await listed('/v1/commands', { since: sameMoment })).length, 2);
});

test('pages of a span neither repeat nor leave out', async () => {
  const query = new URLSearchParams({ since: second?.().issuedAt ?? '', limit: '1' });
  const one = (await http.call('GET', `/v1/commands?${query}`)).body;
  query.set('cursor', one.next);
  const two = (await http.call('GET', `/v1/commands?${query}`)).body;
  assert.equal([one.items[0].id, two.items[0].id, two.next], [third?.().id, second?.().id, null]);
});

test('executions by when they became final; those that are not are in no span', async () => {
  const { id } = first?.() ?? { id: '' };
  const finishedAt = Date.parse(third?.().issuedAt ?? '') + 5_000;
  await http.store.executions.markSent([sent(id, device)], finishedAt - 1_000);
  await http.store.executions.advance([
    report(id, device, 'succeeded', { finishedAt, ackedAt: finishedAt - 500 }),
  ]);
  const at = new Date(finishedAt).toISOString();
  for (const path of [`/v1/commands/${id}/executions`, `/v1/devices/${device}/executions`]) {
    assert.equal(await listed(path, { finishedSince: at }, 'commandId'), [id]);
    assert.equal(await listed(path, { finishedUntil: at }, 'commandId'), []);
    assert.equal(await listed(path, { finishedUntil: shift(at, 1) }, 'commandId'), [id]);
  }
});

test('the audit trail and tunnels', async () => {
  const all = await listed('/v1/audit', {}, 'subject');
  const { at } = (await http.call('GET', '/v1/audit?limit=1')).body.items[0];
  assert.ok(all.length > 3);
  assert.ok((await listed('/v1/audit', { since: at }, 'subject')).length >= 1);
  const before = await listed('/v1/audit', { until: at }, 'subject');
  assert.is(before.length + (await listed('/v1/audit', { since: at }, 'subject')).length, all.length);
  const { tunnel } = (await http.call('POST', '/v1/tunnels', { body: { deviceId: device, port: 22 } })).body;
  assert.equal(await listed('/v1/tunnels', { since: tunnel.createdAt }), [tunnel.id]);
  assert.equal(await listed('/v1/tunnels', { until: tunnel.createdAt }), []);
});

test('a time that is none is refused', async () => {
  for (const since of ['yesterday', '2030-01-31', '2030-13-31T00:00:00Z', '15m']) {
    assert.is((await http.call('GET', `/v1/commands?since=${since}`)).status, 400, since);
  }
});

/** What an event stream begins with. */
function firstEvent(query: string, headers: Record<string, string> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = send(`${http.url}/v1/events?${query}`, {
      headers: { authorization: `Bearer ${http.secrets.admin}`, ...headers },
    });
    request.on('error', reject);
    request.on('response', (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
        const seq = /^id: (\d+)\nevent: /m.exec(text)?.[1];
        if (seq === undefined) return;
        resolve(seq);
        request.destroy();
      });
    });
    request.end();
  });
}

test('events begin with the first that is not older; after and Last-Event-ID rule over since', async () => {
  const created = (await http.store.events.after(0, 1_000)).filter(({ type }) => type === 'command.created');
  const [, one] = created;
  const since = new Date(one?.at ?? 0).toISOString();
  assert.is(await firstEvent(`type=command.created&since=${since}`), String(one?.seq));
  const earlier = String((created[0]?.seq ?? 0) - 1);
  assert.is(
    await firstEvent(`type=command.created&since=${since}&after=${earlier}`),
    String(created[0]?.seq),
  );
  const resumed = await firstEvent(`type=command.created&since=${since}`, { 'last-event-id': earlier });
  assert.is(resumed, String(created[0]?.seq));
});

test.run();
