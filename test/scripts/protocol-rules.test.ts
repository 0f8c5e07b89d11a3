import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkRules, testTitles } from '../../scripts/checks/protocol-rules.ts';

const protocol = 'Words\n\n- **H-1** The device waits.\n**H-2** It answers (H-1).\n';

function check(sources: Record<string, string>, document = protocol): string[] {
  return checkRules(document, new Map(Object.entries(sources)));
}

test('rules that tests name in their titles are tested', () => {
  const source = `test('H-1: waits', () => {});\ntest(\n  \`\${bus}, H-2: it answers\`,\n  () => {});\n`;
  assert.equal(check({ 'test/a.test.ts': source }), []);
});

test('a rule that is only mentioned in a test is not tested, nor is one that only code cites', () => {
  const problems = check({ 'test/a.test.ts': `// H-1\ntest('H-2', () => 'H-1');`, 'bus/a.ts': '// H-1' });
  assert.equal(problems, ["rules of PROTOCOL.md that no test's title names: H-1"]);
});

test('citing a rule that does not exist is a problem, in code, tests and the document', () => {
  const tested = `test('H-1, H-2', () => {});`;
  const problems = check({
    'test/a.test.ts': `${tested}\n// H-7`,
    'bus/a.ts': '// see Q-3; P-256, SHA-1, UTF-8',
  });
  assert.equal(problems, [
    'test/a.test.ts:2 cites H-7, which PROTOCOL.md does not define',
    'bus/a.ts:1 cites Q-3, which PROTOCOL.md does not define',
  ]);
  assert.match(check({ 'test/a.ts': tested }, `${protocol}See H-9.\n`).join(), /PROTOCOL.md:5 cites H-9/);
});

test('a rule defined twice, and a document without rules, are problems', () => {
  assert.match(check({ 'test/a.ts': `test('H-1, H-2'` }, `${protocol}- **H-1** Again.`).join(), /H-1 twice/);
  assert.match(check({}, 'nothing').join(), /defines no rules/);
});

test('titles are the first arguments of test and of functions called like it', () => {
  const source = `test('it\\'s one', f);\n  rule("two", f);\ntestBoth(\`three\`, f);\nassert.is(a, 'four');`;
  assert.equal(testTitles(source), ["it\\'s one", 'two', 'three']);
});

test.run();
