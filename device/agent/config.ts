/** The agent's configuration, as the program that starts it gathers it from flags, environment and file. */
import { hostname } from 'node:os';
import { AllowList } from '../tunnels/allow-list.ts';

export interface TaskConfig {
  /**
   * It continues when the agent ends, and the next agent resumes it; its output is not reported. Default
   * `false`.
   */
  keepRunning?: boolean;
  command: string;
  args: string[];
  cwd?: string;
  /** Variables to set. */
  env?: Record<string, string>;
  /** Names of variables copied from the agent's own environment. */
  passEnv?: string[];
}

export interface SyncConfig {
  command: string;
  args: string[];
  env?: Record<string, string>;
  passEnv?: string[];
  /** Milliseconds, in addition to the command's own time limit. */
  timeoutMs?: number;
}

export interface TunnelConfig {
  /** `22`: a port of this machine; `db.internal:5432`: one of another. */
  allow: (string | number)[];
  /** Tunnels at once. */
  max: number;
}

export interface AgentConfig {
  /** Base URL of the administration server's HTTP API. */
  server: string;
  /** Enrolment token; needed until the agent is enrolled. Secret. */
  token?: string;
  /** Folder for the key and the state; default `./agent-state`. */
  stateDir: string;
  /** The device's name for people; default the host name. */
  name: string;
  /** The only programs that commands may start. Default none. */
  tasks: Record<string, TaskConfig>;
  /** What a `sync` runs; default nothing, and every sync succeeds. */
  sync?: SyncConfig;
  /** What operators' tunnels may reach. Default nothing. */
  tunnels: TunnelConfig;
  /** How many bytes of a program's last output are reported; default 8192, at most 16384. */
  outputTailBytes: number;
}

/** The errors of a configuration, one line each. */
export class AgentConfigError extends Error {
  override readonly name = 'AgentConfigError';
}

const KEYS = ['server', 'token', 'stateDir', 'name', 'tasks', 'sync', 'tunnels', 'outputTailBytes'];
const TASK_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Throws `AgentConfigError` for anything that is not as `AgentConfig` says; unknown keys included. */
export function checkAgentConfig(raw: Record<string, unknown>): AgentConfig {
  const faults: string[] = [];
  for (const key of Object.keys(raw)) if (!KEYS.includes(key)) faults.push(`${key}: not known here`);
  const text = (value: unknown, key: string, otherwise?: string): string => {
    if (value === undefined && otherwise !== undefined) return otherwise;
    if (typeof value === 'string' && value !== '' && !value.includes('\0')) return value;
    faults.push(`${key}: text is needed`);
    return '';
  };
  const server = text(raw.server, 'server');
  if (server && !/^https?:\/\//.test(server))
    faults.push('server: a URL that begins with https:// or http://');
  const bytes = raw.outputTailBytes ?? 8_192;
  if (!Number.isInteger(bytes) || (bytes as number) < 0 || (bytes as number) > 16_384) {
    faults.push('outputTailBytes: a whole number from 0 to 16384');
  }
  const config: AgentConfig = {
    server,
    stateDir: text(raw.stateDir, 'stateDir', './agent-state'),
    name: text(raw.name, 'name', hostname() || 'device'),
    tasks: tasks(raw.tasks, faults),
    tunnels: tunnels(raw.tunnels, faults),
    outputTailBytes: bytes as number,
  };
  if (raw.token !== undefined) config.token = text(raw.token, 'token').trim();
  if (raw.sync !== undefined && raw.sync !== null) {
    const { timeoutMs, ...rest } = isMap(raw.sync) ? raw.sync : {};
    config.sync = program(rest, 'sync', ['command', 'args', 'env', 'passEnv'], faults);
    if (timeoutMs !== undefined) {
      if (!Number.isInteger(timeoutMs) || (timeoutMs as number) < 1)
        faults.push('sync.timeoutMs: milliseconds');
      else config.sync.timeoutMs = timeoutMs as number;
    }
  }
  if (faults.length > 0) throw new AgentConfigError(faults.join('\n'));
  return Object.freeze(config);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function tasks(raw: unknown, faults: string[]): Record<string, TaskConfig> {
  if (raw === undefined || raw === null) return {};
  if (!isMap(raw)) {
    faults.push('tasks: a map of names to programs');
    return {};
  }
  const named: Record<string, TaskConfig> = {};
  for (const [name, value] of Object.entries(raw)) {
    if (!TASK_NAME.test(name)) faults.push(`tasks.${name}: letters, digits, dots, dashes, at most 64`);
    named[name] = program(
      value,
      `tasks.${name}`,
      ['command', 'args', 'cwd', 'env', 'passEnv', 'keepRunning'],
      faults,
    );
  }
  return named;
}

function tunnels(raw: unknown, faults: string[]): TunnelConfig {
  const made: TunnelConfig = { allow: [], max: 8 };
  if (raw === undefined || raw === null) return made;
  if (!isMap(raw)) {
    faults.push('tunnels: a map with `allow`');
    return made;
  }
  for (const key of Object.keys(raw)) {
    if (!['allow', 'max'].includes(key)) faults.push(`tunnels.${key}: not known here`);
  }
  if (Number.isInteger(raw.max) && (raw.max as number) >= 0 && (raw.max as number) <= 1_000) {
    made.max = raw.max as number;
  } else if (raw.max !== undefined) {
    faults.push('tunnels.max: a whole number from 0 to 1000');
  }
  const allow = raw.allow ?? [];
  if (!Array.isArray(allow)) {
    faults.push('tunnels.allow: a list of ports and of host:port');
    return made;
  }
  for (const [index, entry] of allow.entries()) {
    try {
      if (typeof entry !== 'number' && typeof entry !== 'string') throw new Error('a port, or host:port');
      new AllowList([entry]);
      made.allow.push(entry);
    } catch (error) {
      faults.push(`tunnels.allow[${index}]: ${(error as Error).message}`);
    }
  }
  return made;
}

function program(raw: unknown, path: string, known: string[], faults: string[]): TaskConfig {
  const made: TaskConfig = { command: '', args: [] };
  if (!isMap(raw)) {
    faults.push(`${path}: a map with a command`);
    return made;
  }
  for (const key of Object.keys(raw)) if (!known.includes(key)) faults.push(`${path}.${key}: not known here`);
  if (typeof raw.command === 'string' && raw.command !== '') made.command = raw.command;
  else faults.push(`${path}.command: the program to run`);
  if (raw.args !== undefined) {
    if (Array.isArray(raw.args)) made.args = raw.args.map(String);
    else faults.push(`${path}.args: a list`);
  }
  if (raw.cwd !== undefined) {
    if (typeof raw.cwd === 'string') made.cwd = raw.cwd;
    else faults.push(`${path}.cwd: a folder`);
  }
  if (raw.env !== undefined) {
    if (isMap(raw.env)) {
      made.env = Object.fromEntries(Object.entries(raw.env).map(([key, value]) => [key, String(value)]));
    } else {
      faults.push(`${path}.env: a map`);
    }
  }
  if (raw.keepRunning !== undefined) {
    if (typeof raw.keepRunning === 'boolean') made.keepRunning = raw.keepRunning;
    else faults.push(`${path}.keepRunning: true or false`);
  }
  if (raw.passEnv !== undefined) {
    if (Array.isArray(raw.passEnv) && raw.passEnv.every((name) => typeof name === 'string')) {
      made.passEnv = raw.passEnv;
    } else {
      faults.push(`${path}.passEnv: a list of names of variables`);
    }
  }
  return made;
}
