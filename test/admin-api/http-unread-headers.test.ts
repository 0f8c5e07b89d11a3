/** `Idempotency-Key` and `If-Match` are read or refused, by every operation of the OpenAPI document. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { OpenApiDocument } from '../../admin-api/http/openapi.ts';
import { type Http, startHttp } from './http-harness.ts';

let http: Http;
let document: OpenApiDocument;
test.before(async () => {
  http = await startHttp({ failedEnrolmentsPerMinute: 1_000 });
  document = (await http.call('GET', '/openapi.json', { as: null })).body;
});
test.after(() => http.stop());

function changing() {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([method]) => method !== 'get')
      .map(([method, { parameters = [] }]) => ({
        method: method.toUpperCase(),
        path: path.replace(/\{\w+\}/g, 'nobody'),
        reads: (header: string) =>
          parameters.some(({ name, in: where }) => where === 'header' && name === header),
      })),
  );
}

for (const [header, title, value] of [
  ['idempotency-key', 'Idempotency-Key', 'once'],
  ['if-match', 'If-Match', '"tag"'],
] as const) {
  test(`${title} is refused by every operation that does not read it, before anything is done`, async () => {
    const before = (await http.store.audit.list({ limit: 1 })).items;
    let refusals = 0;
    for (const { method, path, reads } of changing()) {
      const { status, body } = await http.call(method, path, { body: {}, headers: { [header]: value } });
      const refused = status === 400 && String(body.detail).startsWith(`${title} is not read here`);
      assert.is(refused, !reads(header), `${method} ${path} ${status} ${JSON.stringify(body)}`);
      if (refused) refusals += 1;
    }
    assert.ok(refusals > 5);
    assert.equal((await http.store.audit.list({ limit: 1 })).items, before);
  });
}

test('the key makes a repeated command harmless, and the tag is for changes of what has one', () => {
  const readers = (header: string) =>
    changing()
      .filter(({ reads }) => reads(header))
      .map(({ method, path }) => `${method} ${path}`)
      .sort();
  assert.equal(readers('idempotency-key'), ['POST /v1/commands']);
  assert.equal(readers('if-match'), [
    'DELETE /v1/devices/nobody',
    'DELETE /v1/gateways/nobody',
    'DELETE /v1/gateways/nobody/drain',
    'DELETE /v1/gateways/nobody/former-ports',
    'DELETE /v1/groups/nobody',
    'PATCH /v1/devices/nobody',
    'PATCH /v1/gateways/nobody',
    'PATCH /v1/groups/nobody',
    'POST /v1/devices/nobody/move-to',
    'POST /v1/devices/nobody/release',
    'POST /v1/devices/nobody/split',
    'POST /v1/gateways/nobody/drain',
  ]);
});

test.run();
