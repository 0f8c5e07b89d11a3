/**
 * Runs every test file in a process of its own:
 * `node dist/test/run.js [--concurrency N] [part of a file's name ...]`. The last line is
 * `N passed, N failed`, counted in tests; a file that breaks counts as one failed at least.
 */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runFile } from './runner/run-file.ts';
import { judge } from './runner/summary.ts';
import { findTestFiles, type TestFile } from './runner/test-files.ts';
import { startGuard } from './services/guard.ts';
import { ensurePostgres } from './services/postgres.ts';
import { ensureRedis } from './services/redis.ts';

const totals = { passed: 0, failed: 0 };

async function runAndReport(file: TestFile, folder: string): Promise<void> {
  const started = performance.now();
  const outcome = await runFile(file, folder);
  const verdict = judge(outcome);
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  totals.passed += verdict.passed;
  totals.failed += verdict.failed;
  const failed = verdict.problems.length > 0;
  if (failed) console.log(`---- output of ${file.name}\n${outcome.output.trimEnd()}\n----`);
  const why = failed ? `: ${verdict.problems.join(', ')}` : '';
  console.log(`${failed ? 'FAIL' : 'ok  '} ${file.name} ${verdict.passed} passed, ${seconds} s${why}`);
}

async function runAll(files: readonly TestFile[], concurrency: number, folder: string): Promise<void> {
  const waiting = [...files];
  const lane = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift())
      await runAndReport(file, folder);
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
}

/**
 * Once for all files, which run at the same time; a file that needs what cannot be installed fails by itself.
 */
async function installServices(): Promise<void> {
  for (const ensure of [ensureRedis, ensurePostgres]) {
    await ensure().catch((error: Error) => console.log(`warning: ${error.message}`));
  }
}

const { values, positionals } = parseArgs({
  options: { concurrency: { type: 'string', default: '3' } },
  allowPositionals: true,
});
const concurrency = Number(values.concurrency);
if (!Number.isInteger(concurrency) || concurrency < 1)
  throw new Error('--concurrency takes a positive integer');

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  // The guards end what runs and remove the folders as soon as this process is gone.
  process.once(signal, () => process.exit(signal === 'SIGINT' ? 130 : 143));
}

const compiled = fileURLToPath(new URL('.', import.meta.url));
const files = await findTestFiles(resolve('test'), compiled, positionals);
const folder = await mkdtemp(join(tmpdir(), 'pushpoint-'));
const guard = startGuard({ folder });
// PostgreSQL runs as another user and must reach its own folder below this one.
await chmod(folder, 0o711);
if (files.length === 0) {
  console.log('no test file matches');
  totals.failed += 1;
}
await installServices();
await runAll(files, concurrency, folder);
await rm(folder, { recursive: true, force: true });
await guard.release();
console.log(`${totals.passed} passed, ${totals.failed} failed`);
process.exitCode = totals.failed === 0 ? 0 : 1;
