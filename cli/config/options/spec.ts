/** What a setting is, and the programs that have settings. */
export const PROGRAMS = [
  'start',
  'admin',
  'gateway',
  'agent',
  'restored',
  'root-export',
  'operator',
] as const;
export type Program = (typeof PROGRAMS)[number];

export interface OptionSpec {
  /** The flag without its dashes, and the key in the YAML file. */
  name: string;
  env: string;
  type: 'text' | 'path' | 'url' | 'postgres-url' | 'redis-url' | 'port' | 'integer' | 'duration' | 'choice';
  description: string;
  programs: readonly Program[];
  /** In the form that people write. Without a default the setting may be absent. */
  default?: string;
  /** What happens without it, for settings without a default. */
  absent?: string;
  requiredFor?: readonly Program[];
  /** Never shown, in errors either. */
  secret?: boolean;
  /** Not settable in the file. */
  noFile?: boolean;
  choices?: readonly string[];
  /** For `url`: the schemes allowed. */
  schemes?: readonly string[];
  /** For `integer`, `port` and `duration` (milliseconds). */
  min?: number;
  max?: number;
  unit?: string;
}

export const ADMIN = ['start', 'admin'] as const;
export const GATEWAY = ['start', 'gateway'] as const;
/** Programs that only work together with others. */
export const JOINED = ['admin', 'gateway'] as const;
export const ON_DATABASE = [...ADMIN, 'restored', 'root-export'] as const;
export const ON_REDIS = [...JOINED, 'restored'] as const;
export const DAEMONS = ['start', 'admin', 'gateway', 'agent'] as const;
