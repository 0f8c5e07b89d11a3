/**
 * Every setting of every program, once. Flags, environment variables, the keys of the YAML file, help texts
 * and docs/configuration.md all come from this table.
 */
import { ADMIN_OPTIONS } from './options/admin.ts';
import { CLIENTS_OPTIONS } from './options/clients.ts';
import { DAEMONS_OPTIONS } from './options/daemons.ts';
import { GATEWAY_OPTIONS } from './options/gateway.ts';
import { REDIS_OPTIONS } from './options/redis.ts';
import { type OptionSpec, PROGRAMS, type Program } from './options/spec.ts';

export { type OptionSpec, PROGRAMS, type Program } from './options/spec.ts';

export const OPTIONS = [
  {
    name: 'config',
    env: 'PUSHPOINT_CONFIG',
    type: 'path',
    description:
      'YAML file with settings; its keys are the names of the flags. The agent reads its tasks from it too',
    programs: PROGRAMS,
    absent: 'no file is read',
    noFile: true,
  },
  ...ADMIN_OPTIONS,
  ...REDIS_OPTIONS,
  ...GATEWAY_OPTIONS,
  ...CLIENTS_OPTIONS,
  ...DAEMONS_OPTIONS,
] as const satisfies readonly OptionSpec[];

/** What the agent's file holds besides settings; `device/agent` checks it. */
export const AGENT_FILE_KEYS = ['tasks', 'sync', 'tunnels'] as const;

type Spec = (typeof OPTIONS)[number];

type Camel<T extends string> = T extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : T;

type ValueOf<S extends Spec> = S extends { type: 'port' | 'integer' | 'duration' }
  ? number
  : S extends { choices: readonly (infer Choice)[] }
    ? Choice
    : string;

type Present<S extends Spec, P extends Program> = S extends { default: string }
  ? true
  : S extends { requiredFor: readonly (infer Required)[] }
    ? P extends Required
      ? true
      : false
    : false;

/** The settings of one program: camel-case names, durations in milliseconds. */
export type ConfigOf<P extends Program> = {
  readonly [S in Spec as P extends S['programs'][number] ? Camel<S['name']> : never]:
    | ValueOf<S>
    | (Present<S, P> extends true ? never : undefined);
};

export function optionsOf(program: Program): OptionSpec[] {
  return (OPTIONS as readonly OptionSpec[]).filter((option) => option.programs.includes(program));
}

export function camelName(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
