/** A command that was answered 202, and what the API tells of its executions. */
import type { ExecutionView as PlainExecutionView } from '../../cli/api/views.ts';
import type { CommandType } from '../../protocol/command-types.ts';
import type { FinalState } from '../../protocol/index.ts';

export interface Given {
  id: string;
  type: CommandType;
  devices: readonly string[];
  may: readonly FinalState[];
  /** When it was asked for, by `trueTime`. */
  askedAt: number;
  ttlMs: number | null;
  timeoutMs: number;
  collapseKey: string | null;
  skip: boolean;
  /** When its cancel was asked for. */
  canceledAt?: number;
}

/**
 * `inTime`: by the ledger's own word, the device's end was with its gateway before the one that is recorded.
 */
export type ExecutionView = PlainExecutionView & { late: { state: string; inTime?: boolean } | null };
