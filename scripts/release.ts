/**
 * `npm run release -- VERSION [--dry-run]`: checks, turns the top of CHANGELOG.md into the entry of VERSION,
 * commits, tags, and packs the tarball. Publishes nothing: its last lines say how. A failure before the
 * commit leaves the tree unchanged.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/**
 * The changelog with its top section, `## Unreleased` or `## VERSION`, dated; an error when there is nothing
 * to release.
 */
export function datedChangelog(text: string, version: string, date: string): string {
  const heading = /^## (.+)$/m.exec(text);
  if (heading === null) throw new Error('CHANGELOG.md has no section: begin one with "## Unreleased"');
  const title = heading[1] ?? '';
  if (title !== 'Unreleased' && title !== version) {
    throw new Error(`CHANGELOG.md begins with "${title}": put what is new under "## Unreleased"`);
  }
  const start = heading.index + heading[0].length;
  const next = text.indexOf('\n## ', start);
  const entries = text.slice(start, next < 0 ? undefined : next);
  if (!/^- /m.test(entries)) throw new Error(`CHANGELOG.md says nothing under "${title}"`);
  return `${text.slice(0, heading.index)}## ${version} (${date})${text.slice(start)}`;
}

/** Whether `next` may follow `current`, which was released or not. */
export function mayFollow(current: string, next: string, released: boolean): boolean {
  const parts = (version: string) => version.split('.').map(Number);
  const [a, b] = [parts(current), parts(next)];
  for (const [index, part] of a.entries()) {
    if (b[index] !== part) return (b[index] ?? 0) > part;
  }
  return !released;
}

function output(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8' }).trim();
}

function step(command: string, ...args: string[]): void {
  console.log(`+ ${command} ${args.join(' ')}`);
  execFileSync(command, args, { stdio: 'inherit' });
}

function release(version: string, dryRun: boolean): void {
  const { name, version: current, workspaces } = JSON.parse(readFileSync('package.json', 'utf8'));
  if (output('git', 'status', '--porcelain') !== '') {
    throw new Error('The tree has changes that are not committed: commit or stash them');
  }
  if (output('git', 'branch', '--show-current') !== 'main') throw new Error('Releases are made from main');
  const tag = `v${version}`;
  const tags = output('git', 'tag', '--list').split('\n');
  if (tags.includes(tag)) throw new Error(`${tag} exists already`);
  if (!mayFollow(current, version, tags.includes(`v${current}`))) {
    throw new Error(`${version} does not come after ${current}`);
  }
  const changelog = datedChangelog(
    readFileSync('CHANGELOG.md', 'utf8'),
    version,
    new Date().toISOString().slice(0, 10),
  );
  step('npm', 'run', 'check');
  step('npm', 'test');
  if (dryRun) {
    console.log(`would release ${name} ${version}, tag ${tag}; nothing was changed`);
    return;
  }
  writeFileSync('CHANGELOG.md', changelog);
  // The packages of the workspace have the version of the whole.
  const all = workspaces === undefined ? [] : ['--workspaces', '--include-workspace-root'];
  if (version !== current) step('npm', 'version', version, '--no-git-tag-version', ...all);
  step('git', 'commit', '--all', '--quiet', '--message', `Release ${version}`);
  step('git', 'tag', '--annotate', tag, '--message', `${name} ${version}`);
  step('npm', 'pack', ...all);
  console.log(
    `Released ${name} ${version} here. To publish it:\n  git push origin main ${tag}\n  npm publish ` +
      'FILE.tgz, for each of them',
  );
}

/** The entry point. Exits with 1 and says why if it cannot make the release. */
function main(): void {
  const { values, positionals } = parseArgs({
    options: { 'dry-run': { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const [version = ''] = positionals;
  try {
    if (!/^\d+\.\d+\.\d+$/.test(version)) throw new Error('Usage: npm run release -- 1.2.3 [--dry-run]');
    release(version, values['dry-run']);
  } catch (error) {
    console.error(`not released: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
