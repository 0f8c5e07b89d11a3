/**
 * One program's settings: flags, then environment, then the YAML file, then defaults. It reports all mistakes
 * at once, each with its place and what is allowed; the result is frozen.
 */
import { CliError, EXIT } from '../exit-codes.ts';
import {
  AGENT_FILE_KEYS,
  type ConfigOf,
  camelName,
  OPTIONS,
  type OptionSpec,
  optionsOf,
  type Program,
} from './options.ts';
import { type FileSetting, readSettingsFile } from './settings-file.ts';
import { allowedValues, parseValue } from './values.ts';

export class ConfigError extends CliError {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(EXIT.usage, ['Bad configuration:', ...problems.map((problem) => `  - ${problem}`)].join('\n'));
    this.problems = problems;
  }
}

export interface LoadInput {
  /** Values from the command line, by camel-case name. */
  flags: Readonly<Record<string, unknown>>;
  env: NodeJS.ProcessEnv;
  /** Keys in the file that the caller checks (the agent's tasks). */
  otherKeys?: readonly string[];
}

/** Throws `ConfigError` with everything that is wrong. */
export function loadConfig<P extends Program>(program: P, input: LoadInput): ConfigOf<P> {
  return loadConfigAndRest(program, input).config;
}

/** One setting as a program will use it. */
export interface EffectiveSetting {
  name: string;
  /** `null` where none is set and there is no default; secrets are not shown. */
  value: string | null;
  /** `--port`, `environment PUSHPOINT_LISTEN_PORT`, `pushpoint.yaml:3: port`, or `default`. */
  source: string;
}

/** `rest`: the file's values under `otherKeys`, unchecked. Throws `ConfigError`. */
export function loadConfigAndRest<P extends Program>(
  program: P,
  input: LoadInput,
): { config: ConfigOf<P>; rest: Record<string, unknown>; effective: EffectiveSetting[] } {
  const options = optionsOf(program);
  const problems: string[] = [];
  const values: Record<string, string | number | undefined> = {};
  const effective: EffectiveSetting[] = [];

  const file = readFile(options, input, problems);
  for (const option of options) {
    const found = find(option, input, file);
    const value = found === undefined ? undefined : parseValue(option, found.raw);
    if (found !== undefined && value === undefined) {
      problems.push(
        `${found.source}: ${shown(option, found.raw)} is not allowed; expected ${allowedValues(option)}`,
      );
    }
    if (found === undefined && option.requiredFor?.includes(program)) {
      problems.push(`--${option.name} (or ${option.env}) is required: ${option.description}`);
    }
    values[camelName(option.name)] = value;
    effective.push(effectiveSetting(option, found));
  }
  if (problems.length > 0) throw new ConfigError(problems);
  const rest = (input.otherKeys ?? []).flatMap((key) => (file.has(key) ? [[key, file.get(key)?.value]] : []));
  return { config: Object.freeze(values) as ConfigOf<P>, rest: Object.fromEntries(rest), effective };
}

function effectiveSetting(option: OptionSpec, found: Found | undefined): EffectiveSetting {
  const { name } = option;
  if (found === undefined) return { name, value: null, source: 'default' };
  const value = option.secret === true ? 'set (not shown)' : String(found.raw);
  return { name, value, source: found.byDefault === true ? 'default' : found.source };
}

interface Found {
  raw: unknown;
  source: string;
  byDefault?: true;
}

function find(option: OptionSpec, input: LoadInput, file: Map<string, FileSetting>): Found | undefined {
  const flag = input.flags[camelName(option.name)];
  if (flag !== undefined) return { raw: flag, source: `--${option.name}` };
  const env = input.env[option.env];
  // Scripts and unit files use an empty variable for "not set".
  if (env !== undefined && env !== '') return { raw: env, source: `environment ${option.env}` };
  const setting = file.get(option.name);
  if (setting !== undefined) return { raw: setting.value, source: `${setting.place}: ${option.name}` };
  return option.default === undefined
    ? undefined
    : { raw: option.default, source: `default of --${option.name}`, byDefault: true };
}

function readFile(
  options: readonly OptionSpec[],
  input: LoadInput,
  problems: string[],
): Map<string, FileSetting> {
  const own = new Map<string, FileSetting>();
  const path = input.flags.config ?? (input.env.PUSHPOINT_CONFIG || undefined);
  if (typeof path !== 'string' || path === '') return own;
  // One file may serve several programs on a machine: a key of another program is skipped, an unknown one is
  // not.
  const known = new Set([
    ...OPTIONS.filter((option) => !('noFile' in option)).map((option): string => option.name),
    ...AGENT_FILE_KEYS,
  ]);
  for (const setting of readSettingsFile(path, problems)) {
    if (!known.has(setting.key)) {
      const names = options.filter((option) => option.noFile !== true).map((option) => option.name);
      problems.push(
        `${setting.place}: unknown key ${JSON.stringify(setting.key)}; expected one of ` +
          `${[...names, ...(input.otherKeys ?? [])].join(', ')}`,
      );
    } else {
      own.set(setting.key, setting);
    }
  }
  return own;
}

/** A URL may contain a password, and a token is one: secrets are never repeated. */
function shown(option: OptionSpec, raw: unknown): string {
  return option.secret === true ? 'the value (not shown)' : (JSON.stringify(raw) ?? String(raw));
}
