import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CLOSE, closeName, type ReconnectAdvice, reconnectAdvice } from '../../protocol/index.ts';
import { documentText } from './vectors-file.ts';

test('C-2: for every possible code, the range alone says what to do', () => {
  const expected = (code: number): ReconnectAdvice =>
    code < 4000 || code > 4599 ? 'back-off' : code < 4200 ? 'now' : code < 4400 ? 'back-off' : 'slow';
  for (let code = 0; code <= 65_535; code++) assert.is(reconnectAdvice(code), expected(code), String(code));
  for (const code of [Number.NaN, -1, 4000.5]) assert.type(reconnectAdvice(code), 'string');
});

test('C-1: every close code is its own, in 4000 to 4599, and in the table of PROTOCOL.md', () => {
  const codes = Object.values(CLOSE);
  assert.is(new Set(codes).size, codes.length);
  for (const [name, code] of Object.entries(CLOSE)) {
    assert.ok(code >= 4000 && code <= 4599);
    assert.is(closeName(code), name);
    assert.ok(documentText.includes(`| ${code} | \`${name}\` |`), name);
  }
  assert.is(closeName(1006), 'other');
});

test.run();
