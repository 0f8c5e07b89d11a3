/** Completion scripts in the shells themselves, which are installed where they are missing. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EXIT } from '../../cli/exit-codes.ts';
import { allNodes, type CommandNode, commandTree } from '../../cli/reference/command-tree.ts';
import { buildCommands, run } from '../../cli/run.ts';
import { findPrograms, installPackage } from '../services/install.ts';
import { testShell } from './small-server.ts';

const tree = commandTree(buildCommands(testShell(), { code: EXIT.ok }));
const folder = mkdtempSync(join(tmpdir(), 'completion-'));
test.after(() => rmSync(folder, { recursive: true }));

/** The shell's program, and the script that `pushpoint completion` prints for it, in a file. */
async function prepare(name: 'bash' | 'zsh' | 'fish'): Promise<{ program: string; script: string }> {
  const find = () => findPrograms([name], ['/usr/bin', '/bin']);
  if ((await find()) === undefined) await installPackage(name, `your system's package ${name}`);
  const found = await find();
  if (found === undefined) throw new Error(`${name} was installed, but is not there`);
  const shell = testShell();
  assert.is(await run(['completion', name], shell), 0);
  const script = join(folder, `pushpoint.${name}`);
  writeFileSync(script, shell.out);
  return { program: found[name], script };
}

async function output(program: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, LC_ALL: 'C.UTF-8', TERM: 'dumb', HOME: folder, XDG_CONFIG_HOME: folder };
  return (await promisify(execFile)(program, args, { env, timeout: 60_000, maxBuffer: 1e8 })).stdout;
}

/** What should be offered after the words of a command. */
function offered(node: CommandNode): string[] {
  const children = node.children.map((child) => child.path.at(-1) ?? '');
  return [...children, ...node.options.flatMap((option) => option.flags)];
}

test('bash completes the subcommands and flags of every command, and the choices of a flag', async () => {
  const { program, script } = await prepare('bash');
  const questions = allNodes(tree).map((node) => [...node.path, '']);
  questions.push(['pushpoint', 'devices', 'list', '--state', '']);
  questions.push(['pushpoint', 'tokens', 'create', 'name', '--role', 'ad']);
  const lines = questions.map(
    (words) =>
      `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; ` +
      `COMPREPLY=(); _pushpoint; echo "\${COMPREPLY[@]}"`,
  );
  const answers = (await output(program, '-c', `source ${script}\n${lines.join('\n')}`))
    .trimEnd()
    .split('\n');
  for (const [index, node] of allNodes(tree).entries()) {
    assert.equal(answers[index]?.split(' '), offered(node), node.path.join(' '));
  }
  assert.equal(answers.slice(-2), ['connected disconnected blocked', 'admin']);
});

test('fish completes the subcommands and flags of every command, and the choices of a flag', async () => {
  const { program, script } = await prepare('fish');
  const nodes = allNodes(tree);
  const lines = nodes.map(
    ({ path }) => `complete -C '${path.join(' ')} '; complete -C '${path.join(' ')} --'; echo =`,
  );
  lines.push(`complete -C 'pushpoint devices list --state '`);
  const said = await output(program, '--no-config', '-c', `source ${script}\n${lines.join('\n')}`);
  const answers = said.split('=\n').map((text) => text.split('\n').map((line) => line.split('\t')[0] ?? ''));
  for (const [index, node] of nodes.entries()) {
    const expected = offered(node).filter((word) => !/^-\w/.test(word));
    for (const word of expected) assert.ok(answers[index]?.includes(word), `${node.path.join(' ')}: ${word}`);
  }
  assert.equal(answers.at(-1)?.filter(Boolean).sort(), ['blocked', 'connected', 'disconnected']);
});

test('zsh completes commands, flags and the choices of a flag', async () => {
  const { program, script } = await prepare('zsh');
  // In a terminal of its own, as completion needs the line editor; `show` prints the line as it stands after
  // Tab.
  const questions = {
    'pushpoint devices sh': 'pushpoint devices show ',
    'pushpoint devices list --lim': 'pushpoint devices list --limit ',
    'pushpoint devices list --state bl': 'pushpoint devices list --state blocked ',
    'pushpoint config check gat': 'pushpoint config check gateway ',
  };
  const session = [
    'zmodload zsh/zpty',
    `zpty shell ${program} -f -i`,
    `zpty -w shell 'autoload -Uz compinit; compinit -u -D; source ${script}'`,
    `zpty -w shell 'show() { print -r -- "@["$BUFFER"]@"; BUFFER= }; zle -N show; bindkey "^X^T" show; ` +
      `echo READY'`,
    `zpty -r shell line '*READY*READY*'`,
    ...Object.keys(questions).flatMap((words) => [
      `zpty -w -n shell $'${words}\\t\\x18\\x14'`,
      `zpty -r shell line '*@\\[*\\]@*'`,
      'print -r -- "$line"',
    ]),
    'zpty -d shell',
  ];
  const said = await output(program, '-f', '-c', session.join('\n'));
  const lines = [...said.matchAll(/@\[([^\]\n]*)\]@/g)].map((match) => match[1]);
  assert.equal(lines, Object.values(questions));
});

test('a shell that there is no script for is wrong usage', async () => {
  const shell = testShell();
  assert.is(await run(['completion', 'tcsh'], shell), EXIT.usage);
  assert.match(shell.err, /bash, zsh, fish/);
});

test.run();
