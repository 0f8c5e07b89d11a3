/** docs/configuration.md, from the options table and the exit codes of the command. */
import { OPTIONS, type OptionSpec, optionsOf, PROGRAMS, type Program } from '../cli/config/options.ts';
import { allowedValues } from '../cli/config/values.ts';
import { EXIT_MEANINGS } from '../cli/exit-codes.ts';
import type { GeneratedFile } from './generated-file.ts';

const TITLES: Record<Program, string> = {
  start: '`pushpoint start`',
  admin: '`pushpoint admin`',
  gateway: '`pushpoint gateway`',
  agent: '`pushpoint agent`',
  restored: '`pushpoint restored`',
  operator: "Operators' commands",
};

const AGENT_FILE = [
  'Besides these settings the YAML file names the only programs that commands may start (`tasks`), and what a forced',
  'synchronisation runs (`sync`; without it a sync does nothing and succeeds). What operators reach through tunnels is what `tunnels`',
  'names, and nothing without it: a port of this machine, or `host:port` of another:',
  '',
  '```yaml',
  'sync:',
  '  command: /usr/local/bin/fetch-policy',
  '  args: [--quiet]',
  '  timeoutMs: 60000        # besides the time limit of the command itself',
  'tasks:',
  '  backup:',
  '    command: /usr/local/bin/backup',
  '    args: [--target, /srv]',
  '    cwd: /srv              # optional',
  '    env: { LEVEL: full }   # optional',
  '    passEnv: [HTTPS_PROXY] # optional: taken over from the agent',
  '    keepRunning: false     # optional; true: goes on when the agent ends',
  'tunnels:',
  '  allow: [22, db.internal:5432]',
  '  max: 8                   # tunnels at once; optional',
  '```',
  '',
  'A program gets a clean environment: `PATH`, `HOME`, `USER`, `LOGNAME`, `SHELL`, `LANG`, `LC_*`, `TZ`, `TMPDIR` and',
  '`XDG_RUNTIME_DIR` (on Windows what its programs need to start), what `passEnv` names, and what `env` sets. The same holds for `sync`.',
  '',
  'Tasks and the hook end with the agent: SIGTERM to the process group, and SIGKILL after ten seconds while it has members (sooner',
  'if `--stop-deadline` says so). What an agent that was killed left running is ended by the next one; until then the task is',
  '`already running`. A task with `keepRunning: true` goes on instead, and the next agent takes it over: it counts in `statistics`,',
  '`task.stop` and time limits end it (one that passed while no agent ran, at the next session), and its execution goes on. Its',
  'output is not reported, nor its exit status once the agent was started again. Under systemd it also needs `KillMode=process`. On',
  'Linux only: elsewhere nothing is found again.',
  '',
  'Every process of a run has its id in `PUSHPOINT_TASK_RUN`.',
  '',
];

export const configurationReference: GeneratedFile = {
  file: 'docs/configuration.md',
  generate: () => `${[...introduction(), ...PROGRAMS.flatMap(section), ...exitCodes()].join('\n')}\n`,
};

function introduction(): string[] {
  const secrets = [...new Set((OPTIONS as readonly OptionSpec[]).filter((o) => o.secret).map((o) => o.env))];
  return [
    '# Configuration',
    '',
    'Generated from `cli/config/options.ts`; change it there and run `npm run build && node dist/scripts/generate.js`.',
    '',
    'A setting comes from its flag, else from its environment variable, else from the YAML file that `--config` or',
    '`PUSHPOINT_CONFIG` names, else from its default. Keys in the file are the names of the flags without dashes in',
    'front (`api-port: 9090`). One file may serve several programs on a machine: keys of other programs are skipped,',
    'unknown keys are errors. An empty environment variable counts as not set. Everything is checked at start; what is',
    'wrong is reported at once and whole, with exit code 2. Durations are written `500ms`, `30s`, `15m`, `2h`, `7d`, or',
    'in parts as `1h30m`. Relative paths start at the current directory.',
    '',
    `Secrets (${secrets.map((env) => `\`${env}\``).join(', ')}, \`PUSHPOINT_TOKEN\`) are never printed. A flag can be seen by other`,
    'users of the machine in its list of processes: prefer the environment or a file for them.',
    '',
    'When a program runs, it says so: in prose on a terminal, elsewhere with one line `ready {…}` on stdout, whose JSON',
    'holds `program`, `pid`, and as far as it has them `api`, `apiPort`, `gateway`, `gatewayPort`, `metricsPort`,',
    '`tokenFile` and `device`. `--ready-file` writes the same JSON to a file that appears whole. Logs go to stderr.',
    '',
  ];
}

function section(program: Program): string[] {
  const rows = optionsOf(program).map((option) => {
    const required = option.requiredFor?.includes(program) === true;
    const otherwise = option.default === undefined ? (option.absent ?? '') : `\`${option.default}\``;
    const cells = [
      `\`--${option.name}\``,
      `\`${option.env}\`${option.noFile === true ? ' (not in the file)' : ''}`,
      capitalize(option.description),
      capitalize(allowedValues(option)) + (option.unit === undefined ? '' : ` (${option.unit})`),
      required ? '**required**' : otherwise,
    ];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  const notes =
    program === 'agent'
      ? AGENT_FILE
      : program === 'operator'
        ? [
            'The API token comes from the file that `--token-file` names, else from `PUSHPOINT_TOKEN`, else from the file that',
            '`PUSHPOINT_TOKEN_FILE` or the YAML file names, else from `./data/admin-token`.',
            '',
          ]
        : [];
  return [
    `## ${TITLES[program]}`,
    '',
    ...notes,
    '| flag | environment | what it is | allowed | default |',
    '|---|---|---|---|---|',
    ...rows,
    '',
  ];
}

function exitCodes(): string[] {
  return [
    '## Exit codes',
    '',
    '| code | meaning |',
    '|---|---|',
    ...EXIT_MEANINGS.map(([code, meaning]) => `| ${code} | ${capitalize(meaning)} |`),
  ];
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
