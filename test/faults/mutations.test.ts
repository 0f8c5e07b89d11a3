/**
 * The mutations of the fault matrix and of the trust test fit the code as it is; whether their proofs notice
 * them is played by `test:faults` and `test:trust`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ATTACKS } from '../trust/attacks.ts';
import { MUTATIONS as PROTECTIONS } from '../trust/mutations.ts';
import { MUTATIONS } from './mutate/mutations.ts';

const compiled = fileURLToPath(new URL('../..', import.meta.url));
const sources = fileURLToPath(new URL('../../../test', import.meta.url));

test('each mutation finds the lines that it changes, once', () => {
  assert.ok(MUTATIONS.length >= 30);
  for (const { name, patches } of [...MUTATIONS, ...PROTECTIONS]) {
    for (const { file, find } of patches) {
      const found = readFileSync(join(compiled, file), 'utf8').split(find).length - 1;
      assert.is(found, 1, `${name}: ${file}`);
    }
  }
});

test('each mutation has a unique name, and a test that exists as its proof', () => {
  for (const { name, proof } of MUTATIONS) {
    const file = join(sources, `${proof.file}.test.ts`);
    assert.ok(existsSync(file), `${name}: ${file}`);
    assert.ok(hasTest(readFileSync(file, 'utf8'), proof.test), `${name}: ${file}: ${proof.test}`);
  }
  assert.is(new Set(MUTATIONS.map(({ name }) => name)).size, MUTATIONS.length);
});

test('each protection has a unique name, and an attack made for it', () => {
  const attacks = new Set(ATTACKS.map(({ name }) => name));
  assert.is(attacks.size, ATTACKS.length);
  for (const { name, proof } of PROTECTIONS) assert.ok(attacks.has(proof), `${name}: ${proof}`);
  assert.is(new Set(PROTECTIONS.map(({ name }) => name)).size, PROTECTIONS.length);
});

function hasTest(source: string, title: string): boolean {
  // Long titles are written in two parts.
  const text = source.replace(/['"] \+\n +['"]/g, '');
  if (text.includes(`'${title}'`) || text.includes(`"${title}"`)) return true;
  // Titles of tests for each of several cases have `${...}` in them.
  const templates = [...text.matchAll(/\b\w*test\w*\(`([^`]+)`/gi)].map(([, template]) => template as string);
  return templates.some((template) => {
    const parts = template.split(/\$\{[^}]*\}/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    return new RegExp(`^${parts.join('.*')}$`).test(title);
  });
}

test.run();
