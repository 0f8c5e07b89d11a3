import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type FileOutcome, judge, parseSummary } from '../runner/summary.ts';
import { readTimeLimit } from '../runner/test-files.ts';

function summary(total: number, passed: number, skipped: number): string {
  return (
    `• •\n\n  Total:     ${total}\n  Passed:    ${passed}\n  Skipped:   ${skipped}\n  Duration:  ` +
    '1.00ms\n\n'
  );
}

function outcome(changes: Partial<FileOutcome>): FileOutcome {
  return {
    output: summary(2, 2, 0),
    exitCode: 0,
    signal: null,
    killedAfterMs: null,
    leftBehind: [],
    ...changes,
  };
}

test('the last summary counts, colours or not', () => {
  const coloured = '\n  Total:     3\n\x1b[32m  Passed:    3\x1b[39m\n  Skipped:   \x1b[33m1\x1b[39m\n';
  assert.equal(parseSummary(summary(9, 9, 0) + coloured), { total: 3, passed: 3, skipped: 1 });
  assert.is(parseSummary('  Total:     3\nPassed: 3'), undefined);
});

test('a file whose tests all passed passes', () => {
  assert.equal(judge(outcome({})), { passed: 2, failed: 0, problems: [] });
});

test('a file fails with every failed test counted once', () => {
  const verdict = judge(outcome({ output: summary(5, 3, 0), exitCode: 1 }));
  assert.equal(verdict, { passed: 3, failed: 2, problems: ['2 failed'] });
});

test('a file fails without a summary, with no tests, with a skipped test and with a bad end', () => {
  assert.equal(judge(outcome({ output: 'hello' })).problems, ['printed no summary']);
  assert.equal(judge(outcome({ output: summary(0, 0, 0) })).problems, ['has no tests']);
  assert.equal(judge(outcome({ output: summary(2, 2, 1) })).problems, ['skipped 1']);
  assert.equal(judge(outcome({ exitCode: 3 })).problems, ['ended with exit code 3']);
  assert.equal(judge(outcome({ exitCode: null, signal: 'SIGSEGV' })).problems, ['ended with SIGSEGV']);
  assert.equal(judge(outcome({ output: '', exitCode: 1 })).failed, 2);
});

test('a file that is killed at its time limit fails and says whether its tests had ended', () => {
  const killed = { killedAfterMs: 60_000, exitCode: null, signal: 'SIGKILL' } as const;
  assert.match(judge(outcome({ ...killed, output: '•' })).problems.join(), /not finished after 60 s/);
  assert.match(judge(outcome(killed)).problems.join(), /something is still open/);
  assert.is(judge(outcome(killed)).failed, 1);
});

test('a file that leaves a process running fails', () => {
  assert.equal(judge(outcome({ leftBehind: ['12 sleep 600'] })).failed, 1);
});

test('a time limit is a comment among the first lines', () => {
  assert.is(readTimeLimit("// time limit: 120 s\nimport x from 'y';"), 120_000);
  assert.is(readTimeLimit("import x from 'y';\n"), undefined);
  assert.is(readTimeLimit(`${'\n'.repeat(20)}// time limit: 120 s`), undefined);
});

test.run();
