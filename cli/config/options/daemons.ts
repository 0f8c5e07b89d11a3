/** Settings of every program that runs until it is stopped. */
import { DAEMONS, type OptionSpec } from './spec.ts';

export const DAEMONS_OPTIONS = [
  {
    name: 'log-level',
    env: 'PUSHPOINT_LOG_LEVEL',
    type: 'choice',
    choices: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    description: 'Lowest level of log lines to write (JSON lines, to stderr)',
    programs: DAEMONS,
    default: 'info',
  },
  {
    name: 'ready-file',
    env: 'PUSHPOINT_READY_FILE',
    type: 'path',
    description: 'File to write once everything runs; it contains the JSON of the ready line',
    programs: DAEMONS,
    absent: 'none is written',
  },
  {
    name: 'stop-deadline',
    env: 'PUSHPOINT_STOP_DEADLINE',
    type: 'duration',
    min: 100,
    max: 600_000,
    description: 'How long an orderly stop may take after SIGTERM or SIGINT; a second signal ends at once',
    programs: DAEMONS,
    default: '25s',
  },
] as const satisfies readonly OptionSpec[];
