/** `ETag` and `If-Match`: nobody overwrites a change that he does not know of. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Http, startHttp } from './http-harness.ts';

let http: Http;
const paths: string[] = [];
test.before(async () => {
  http = await startHttp();
  await http.call('POST', '/v1/groups', { body: { id: 'shop', name: 'Shop' } });
  const device = await http.enrol('shop');
  await http.call('POST', '/v1/gateways', { body: { name: 'gw1', address: 'ws://gw1:13295' } });
  paths.push('/v1/groups/shop', `/v1/devices/${device}`, '/v1/gateways/gw1');
});
test.after(() => http.stop());

const tagOf = async (path: string) => (await http.call('GET', path)).headers.get('etag') ?? '';
let count = 0;
const newBody = (path: string) =>
  path.includes('gateways') ? { connectionLimit: ++count } : { name: `Name ${++count}` };
const change = (path: string, ifMatch: string) =>
  http.call('PATCH', path, { body: newBody(path), headers: { 'if-match': ifMatch } });

test('a change with the tag of now is made, and the answer has the next tag', async () => {
  for (const path of paths) {
    const before = await tagOf(path);
    assert.match(before, /^"[\w-]{22}"$/);
    const changed = await change(path, before);
    assert.is(changed.status, 200, path);
    const after = changed.headers.get('etag');
    assert.is.not(after, before);
    assert.is(await tagOf(path), after);
  }
});

test('a change with an older tag is refused with 412, and changes nothing', async () => {
  for (const path of paths) {
    const older = await tagOf(path);
    assert.is((await change(path, '*')).status, 200);
    const before = (await http.call('GET', path)).body;
    const refused = await change(path, older);
    assert.is(refused.status, 412, path);
    assert.is(refused.body.code, 'precondition-failed');
    assert.equal((await http.call('GET', path)).body, before);
  }
});

test('of two who change the same at once, knowing the same, one does', async () => {
  for (const path of paths) {
    const tag = await tagOf(path);
    const answers = await Promise.all([change(path, tag), change(path, tag)]);
    assert.equal(answers.map(({ status }) => status).sort(), [200, 412], path);
  }
});

test('any one of several tags matches, a weak one never; without If-Match the last change wins', async () => {
  for (const path of paths) {
    assert.is((await change(path, `"other", ${await tagOf(path)}`)).status, 200);
    assert.is((await change(path, `W/${await tagOf(path)}`)).status, 412);
    assert.is((await http.call('PATCH', path, { body: newBody(path) })).status, 200);
    assert.is((await change(path, 'no quotes')).status, 400);
  }
});

test('a tag stands for settings of operators: measurements do not change it', async () => {
  const [, path = ''] = paths;
  const device = path.split('/').at(-1) ?? '';
  const before = await tagOf(path);
  const connected = {
    incarnation: 'inc-1',
    worker: 'gw1/0',
    gateway: 'gw1',
    address: '192.0.2.1',
    software: 'agent 2',
    caps: ['sync'],
  };
  await http.store.devices.applySessions([{ device, session: 1, connected, at: Date.now() }]);
  assert.is((await http.call('GET', path)).body.state, 'connected');
  assert.is(await tagOf(path), before);
});

test('drains, released ports and deletions heed the tag as well', async () => {
  const [group = '', device = '', gateway = ''] = paths;
  for (const [method, path, of] of [
    ['POST', `${gateway}/drain`, gateway],
    ['DELETE', `${gateway}/drain`, gateway],
    ['DELETE', `${gateway}/former-ports`, gateway],
    ['DELETE', gateway, gateway],
    ['DELETE', device, device],
    ['DELETE', group, group],
  ] as const) {
    const stale = await http.call(method, path, { headers: { 'if-match': '"stale"' } });
    assert.is(stale.status, 412, `${method} ${path}`);
    const made = await http.call(method, path, { headers: { 'if-match': await tagOf(of) } });
    assert.ok(made.status < 300, `${method} ${path} ${made.status}`);
  }
});

test.run();
