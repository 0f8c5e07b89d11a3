/**
 * Arguments of the command types as handlers receive them. command-types.ts has their schemas and checks that
 * both agree.
 */
export interface CommandArgs {
  sync: {
    /** Fetch everything, not only what changed. */
    full?: boolean;
  };
  'task.start': { task: string };
  'task.stop': { task: string };
  statistics: Record<string, never>;
  message: { topic: string; body?: unknown };
  'tunnel.open': {
    tunnel: string;
    gateway: { name: string; url: string };
    worker: number;
    ticket: string;
    /** Absent with `resume`. */
    key?: string;
    host: string;
    port: number;
    lifeMs: number;
    resume?: boolean;
  };
  'tunnel.close': { tunnel: string; reason?: string };
  identify: Record<string, never>;
}

export type CommandType = keyof CommandArgs;
