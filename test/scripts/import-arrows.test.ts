import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkImports } from '../../scripts/checks/import-arrows.ts';
import { parseImports, unreadableImports } from '../../scripts/checks/imports.ts';

function check(files: Record<string, string>): string[] {
  return checkImports(new Map(Object.entries(files)));
}

test('imports of every form are seen: types, several lines, re-exports, dynamic ones, require', () => {
  const source = [
    `import a from 'a';`,
    `import type { B } from 'b';`,
    'import {',
    '  type C,',
    '  c,',
    `} from 'c';`,
    `import 'd';`,
    `export * from 'e';`,
    `export type { F } from 'f';`,
    `const g = await import('g');`,
    `let h: import('h').H;`,
    `const i = require('i');`,
    `import j, { k } from 'j';`,
    'export const from = Array.from(g);',
  ].join('\n');
  assert.equal(
    parseImports(source).map(({ specifier }) => specifier),
    ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'],
  );
  assert.equal(unreadableImports(source), []);
});

test('imports that cannot be read are problems', () => {
  assert.equal(unreadableImports('const a = await import(name);\nconst b = require(`x`);'), [1, 2]);
  assert.equal(unreadableImports(`import a from "a";\nconst url = import.meta.url;`), [1]);
  assert.match(check({ 'bus/a.ts': 'await import(name);' }).join(), /bus\/a.ts:1 imports something/);
});

test('allowed arrows pass', () => {
  const problems = check({
    'protocol/a.ts': `import { createHash } from 'node:crypto';`,
    'bus/a.ts': `import { a } from '../protocol/a.ts';`,
    'gateway/a.ts':
      `import { a } from '../bus/a.ts';\nimport b from '../protocol/a.ts';\nimport u from ` +
      `'uWebSockets.js';`,
    'cli/a.ts': `import '../gateway/a.ts';`,
    'test/services/a.ts': `import '../../bus/a.ts';`,
    'bench/a.ts': `import '../test/services/a.ts';`,
  });
  assert.equal(problems, []);
});

test('forbidden arrows are problems, for types as well', () => {
  const files = {
    'protocol/a.ts': '',
    'bus/a.ts': '',
    'gateway/a.ts': '',
    'admin-api/a.ts': `import type { A } from '../gateway/a.ts';`,
    'device/a.ts': `export { a } from '../bus/a.ts';`,
    'console/a.ts': `import '../protocol/a.ts';`,
    'test/a.ts': '',
    'bench/a.ts': `export * from '../test/a.ts';`,
  };
  const problems = check(files).map((problem) => problem.split(':', 1)[0]);
  assert.equal(problems, ['admin-api/a.ts', 'device/a.ts', 'console/a.ts', 'bench/a.ts']);
});

test('an import of a file that does not exist is a problem', () => {
  assert.match(check({ 'bus/a.ts': `import './gone.ts';` }).join(), /no source of ours/);
});

test('folders of a part that import each other are a problem', () => {
  const problems = check({
    'gateway/drain/a.ts': `import '../lease/b.ts';`,
    'gateway/lease/b.ts': '',
    'gateway/lease/c.ts': `import type { A } from '../drain/a.ts';`,
  });
  assert.equal(problems, ['circle of folders: gateway/drain -> gateway/lease -> gateway/drain']);
});

test('cycles are problems, through types as well', () => {
  const problems = check({
    'bus/a.ts': `import './b.ts';`,
    'bus/b.ts': `import type { C } from './c.ts';`,
    'bus/c.ts': `export * from './a.ts';`,
    'bus/d.ts': `import './a.ts';`,
  });
  assert.equal(problems, ['cycle: bus/a.ts -> bus/b.ts -> bus/c.ts -> bus/a.ts']);
});

test('packages that belong to one part are imported by that part only', () => {
  const problems = check({
    'admin-api/a.ts': `import { Pool } from 'pg';`,
    'admin-api/store/a.ts':
      `import { Pool } from 'pg';\n` + `import { DatabaseSync } from '@photostructure/sqlite';`,
    'bus/a.ts': `import type { Redis } from 'ioredis';`,
    'bus/redis/a.ts': `import { Redis } from 'ioredis';`,
    'gateway/a.ts': `import { App } from 'uWebSockets.js';`,
    'gateway/b.ts': `import type { WebSocket } from 'uWebSockets.js';`,
  });
  assert.equal(problems, [
    'admin-api/a.ts:1 imports pg, which belongs to admin-api/store/',
    'bus/a.ts:1 imports ioredis, which belongs to bus/redis/',
    'uWebSockets.js is imported by gateway/a.ts, gateway/b.ts: one file of gateway/ may',
  ]);
});

test('the protocol does no I/O, and what browsers load uses nothing of Node', () => {
  const problems = check({
    'protocol/a.ts': `import { readFile } from 'node:fs/promises';`,
    'device/index.browser.ts': `import './b.ts';`,
    'device/b.ts': `import { hash } from 'node:crypto';`,
    'device/c.ts': `import { readFile } from 'node:fs/promises';`,
  });
  assert.equal(problems, [
    'protocol/a.ts:1 imports node:fs/promises, but is pure',
    'device/b.ts:1 imports node:crypto, but runs in browsers',
  ]);
});

test.run();
