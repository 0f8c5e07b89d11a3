/** A command that was answered 202, and what the API tells of its executions. */
import type { ExecutionView as PlainExecutionView } from '../../cli/operator/views.ts';
import type { CommandType } from '../../protocol/command-types.ts';
import type { FinalState } from '../../protocol/index.ts';

export interface Given {
  id: string;
  type: CommandType;
  devices: readonly string[];
  may: readonly FinalState[];
}

export type ExecutionView = PlainExecutionView & { late: { state: string } | null };
