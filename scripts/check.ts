/**
 * All checks of `npm run check`, from the root of the repository, after a build. Every failing one is
 * reported.
 */
import { findStaleFiles } from './checks/generated-files.ts';
import { findImportProblems } from './checks/import-arrows.ts';
import { findLongLines } from './checks/line-lengths.ts';
import { findMachinePaths } from './checks/machine-paths.ts';
import { findOpenApiProblems } from './checks/openapi.ts';
import { findPackageProblems } from './checks/packages.ts';
import { findRuleProblems } from './checks/protocol-rules.ts';
import { findReadmeProblems } from './checks/readme.ts';
import { runTool } from './checks/run-tool.ts';
import { findBinaryProblems } from './checks/uwebsockets-binaries.ts';

const checks: { name: string; find(root: string): Promise<string[]> }[] = [
  {
    name: 'format and lint',
    find: (root) => runTool(root, 'biome', ['ci', '--colors=off', '--error-on-warnings', '.']),
  },
  { name: 'types', find: (root) => runTool(root, 'tsc', ['--noEmit', '-p', 'tsconfig.json']) },
  { name: 'import arrows and cycles', find: findImportProblems },
  { name: 'protocol rules have tests', find: findRuleProblems },
  { name: 'binaries of uWebSockets.js', find: findBinaryProblems },
  { name: 'unused code and dependencies', find: (root) => runTool(root, 'knip', ['--no-progress']) },
  { name: 'OpenAPI document', find: findOpenApiProblems },
  { name: 'generated references', find: findStaleFiles },
  { name: 'dependencies in README.md', find: findReadmeProblems },
  { name: 'packages as npm publishes them', find: findPackageProblems },
  { name: 'lines of 110 columns', find: findLongLines },
  { name: 'paths of our machines', find: findMachinePaths },
];

const wanted = process.argv.slice(2);
const failed: string[] = [];
for (const { name, find } of checks) {
  if (wanted.length > 0 && !wanted.some((part) => name.includes(part))) continue;
  const started = performance.now();
  // A check that throws has found a problem; the others still run.
  const problems = await find(process.cwd()).catch((error: Error) => [error.message]);
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  console.log(`${problems.length === 0 ? 'ok  ' : 'FAIL'} ${name}, ${seconds} s`);
  for (const problem of problems) console.log(problem.replace(/^/gm, '     '));
  if (problems.length > 0) failed.push(name);
}
console.log(failed.length === 0 ? 'all checks passed' : `failed: ${failed.join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;
