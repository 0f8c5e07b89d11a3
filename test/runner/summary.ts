/** What a test file's process came to. */
export interface FileOutcome {
  /** Standard output and error, in the order of arrival. */
  output: string;
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  /** It was killed at its time limit, in milliseconds; `null` when it ended by itself. */
  killedAfterMs: number | null;
  /** Processes that it left running. */
  leftBehind: readonly string[];
}

export interface Verdict {
  passed: number;
  /** At least 1 for every reason in `problems`. */
  failed: number;
  /** Why the file failed, beyond tests that failed; empty when it passed. */
  problems: string[];
}

interface Summary {
  total: number;
  passed: number;
  skipped: number;
}

/** The last summary that uvu printed, if any: a test may print another one as somebody's output. */
export function parseSummary(output: string): Summary | undefined {
  const plain = withoutColour(output);
  const pattern = /^ {2}Total: +(\d+)\n {2}Passed: +(\d+)\n {2}Skipped: +(\d+)$/gm;
  const last = [...plain.matchAll(pattern)].at(-1);
  if (last === undefined) return undefined;
  const [total, passed, skipped] = last.slice(1).map(Number);
  return { total: total ?? 0, passed: passed ?? 0, skipped: skipped ?? 0 };
}

/** Titles of the tests that uvu says failed. */
export function failedTests(output: string): string[] {
  return [...withoutColour(output).matchAll(/^ {3}FAIL {2}(?:[^"]* {2})?"(.*)"$/gm)].map(
    ([, title = '']) => title,
  );
}

function withoutColour(output: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: uvu colours what it says
  return output.replace(/\x1b\[[0-9;]*m/g, '');
}

/**
 * Fails closed: a file passes only when it says how many tests it ran, ran all of them, and ended well by
 * itself.
 */
export function judge(outcome: FileOutcome): Verdict {
  const summary = parseSummary(outcome.output);
  const problems: string[] = [];
  if (outcome.killedAfterMs !== null) {
    const state =
      summary === undefined ? 'was not finished' : 'had finished but did not end (something is still open)';
    problems.push(`${state} after ${outcome.killedAfterMs / 1_000} s: killed`);
  } else if (summary === undefined) {
    problems.push('printed no summary');
  }
  if (summary !== undefined) {
    if (summary.total === 0) problems.push('has no tests');
    if (summary.skipped > 0) problems.push(`skipped ${summary.skipped}`);
  }
  const failedTests = summary === undefined ? 0 : Math.max(0, summary.total - summary.passed);
  if (failedTests > 0) problems.push(`${failedTests} failed`);
  else if (outcome.killedAfterMs === null && (outcome.exitCode !== 0 || outcome.signal !== null)) {
    problems.push(`ended with ${outcome.signal ?? `exit code ${outcome.exitCode}`}`);
  }
  if (outcome.leftBehind.length > 0)
    problems.push(`left processes running: ${outcome.leftBehind.join('; ')}`);
  const other = problems.length - (failedTests > 0 ? 1 : 0);
  return { passed: summary?.passed ?? 0, failed: failedTests + other, problems };
}
