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
  'root-export': '`pushpoint keys root export`',
  operator: "Operators' commands",
};

const AGENT_FILE = [
  'The YAML file also holds what commands may do on this machine. `tasks` names the only programs that',
  'commands may start. `sync` names what a forced synchronisation runs; without it a sync does nothing and',
  'succeeds. `tunnels` names what operators reach through tunnels, a port of this machine or `host:port` of',
  'another; without it they reach nothing:',
  '',
  '```yaml',
  'sync:',
  '  command: /usr/local/bin/fetch-policy',
  '  args: [--quiet]',
  '  timeoutMs: 60000        # in addition to the time limit of the command itself',
  'tasks:',
  '  backup:',
  '    command: /usr/local/bin/backup',
  '    args: [--target, /srv]',
  '    cwd: /srv              # optional',
  '    env: { LEVEL: full }   # optional',
  '    passEnv: [HTTPS_PROXY] # optional: copied from the environment of the agent',
  '    keepRunning: false     # optional; true: goes on when the agent ends',
  'tunnels:',
  '  allow: [22, db.internal:5432]',
  '  max: 8                   # tunnels at a time; optional',
  '```',
  '',
  'Programs, that of `sync` included, get a clean environment: `PATH`, `HOME`, `USER`, `LOGNAME`, `SHELL`,',
  '`LANG`, `LC_*`, `TZ`, `TMPDIR` and `XDG_RUNTIME_DIR` (on Windows the variables that programs need to',
  'start), what `passEnv` names, and what `env` sets.',
  '',
  'Tasks and `sync` end with the agent: it sends SIGTERM to the process group, and SIGKILL after ten',
  'seconds if members are left (sooner if `--stop-deadline` says so). If an agent was killed, the next one',
  'ends what it left running; until then the task is `already running`.',
  '',
  'A task with `keepRunning: true` goes on instead, and the next agent resumes it. It counts in',
  '`statistics`. `task.stop` and time limits end it; a limit that passed while no agent ran takes effect at',
  'the next session. Its execution goes on. Its output is not reported, nor its exit status once the agent',
  'has restarted. Under systemd it also needs `KillMode=process`. This works on Linux only: elsewhere the',
  'agent finds no earlier task.',
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
    'Generated from `cli/config/options/`; change it there and run `npm run build && node',
    'dist/scripts/generate.js`.',
    '',
    'A setting comes from its flag, otherwise from its environment variable, otherwise from the YAML file',
    'that `--config` or `PUSHPOINT_CONFIG` names, otherwise from its default. The keys of the file are the',
    'names of the flags without the leading dashes (`api-port: 9090`). One file may serve several programs',
    'on a machine: a program skips keys of other programs and rejects unknown keys. An empty environment',
    'variable counts as not set. A program checks everything at its start and reports all errors at once,',
    'with exit code 2. Durations are written `500ms`, `30s`, `15m`, `2h`, `7d`, or in parts as `1h30m`.',
    'Relative paths start at the current directory.',
    '',
    'Secrets are never printed:',
    `${secrets.map((env) => `\`${env}\``).join(', ')},`,
    '`PUSHPOINT_TOKEN`.',
    'Other users of the machine can see flags in its list of processes: put secrets into the environment or',
    'a file.',
    '',
    'A program says when it runs: in prose on a terminal, otherwise with one line `ready {…}` on stdout,',
    'whose JSON contains `program`, `pid`, and if it has them `api`, `apiPort`, `gateway`, `gatewayPort`,',
    '`metricsPort`, `tokenFile` and `device`. `--ready-file` writes the same JSON to a file, which appears',
    'as a whole. Logs go to stderr.',
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
            'The API token comes from the file that `--token-file` names, otherwise from `PUSHPOINT_TOKEN`,',
            'otherwise from the file that `PUSHPOINT_TOKEN_FILE` or the YAML file names, otherwise from',
            '`./data/admin-token`.',
            '',
          ]
        : [];
  return [
    `## ${TITLES[program]}`,
    '',
    ...notes,
    '| flag | environment | description | allowed | default |',
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
