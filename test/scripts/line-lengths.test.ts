import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { longLines } from '../../scripts/checks/line-lengths.ts';

const full = 'x'.repeat(110);

test('a line of 110 columns passes, and a longer one is a problem', () => {
  assert.equal(longLines('bus/a.ts', `${full}\n${full}`), []);
  assert.equal(longLines('bus/a.ts', `${full}\n${full}y\n`), ['bus/a.ts:2 has 111 columns']);
});

test('columns are characters, not bytes or UTF-16 units', () => {
  assert.equal(longLines('README.md', '—'.repeat(110)), []);
  assert.equal(longLines('README.md', '😀'.repeat(110)), []);
});

test('prose, code blocks, units and Containerfiles are held to the same width', () => {
  for (const file of ['README.md', 'deploy/systemd/a.service', 'deploy/container/Containerfile']) {
    assert.equal(longLines(file, `${full}y`), [`${file}:1 has 111 columns`]);
  }
});

test('a row of a Markdown table may be longer, a row of characters elsewhere may not', () => {
  assert.equal(longLines('docs/a.md', `| ${full} |`), []);
  assert.equal(longLines('bus/a.ts', `| ${full} |`), ['bus/a.ts:1 has 114 columns']);
});

test('a URL may make a line longer, the words around it may not', () => {
  const url = `https://example.net/${full}`;
  assert.equal(longLines('docs/a.md', `[the page](${url}) says so`), []);
  assert.equal(longLines('docs/a.md', `${full} ${url}`), ['docs/a.md:1 has 241 columns']);
});

test.run();
