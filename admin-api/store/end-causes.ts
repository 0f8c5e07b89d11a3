/**
 * Ends that come neither from the device nor from a clock. An execution that was never sent ends at once. The
 * outcome of one that was sent may be on the way, so it is only marked. It ends once everything that gateways
 * had received by then is applied, unless the device's own report ends it.
 */
import type { ExecutionState } from '../../protocol/index.ts';

interface EndingKind {
  code: number;
  state: ExecutionState;
  /** Reasons for an execution that was never sent, was sent but not acknowledged, and was acknowledged. */
  unsent: string;
  sent: string;
  /** Absent if an acknowledgement removes the mark. */
  acknowledged?: string;
}

export const END_CAUSES = {
  cancel: {
    code: 1,
    state: 'canceled',
    unsent: 'canceled before it was sent',
    sent: 'canceled after it was sent; the device had not acknowledged it',
  },
  skip: {
    code: 2,
    state: 'canceled',
    unsent: 'device offline',
    sent: 'device offline; it was sent before, and the device had not acknowledged it',
  },
  supersede: {
    code: 3,
    state: 'superseded',
    unsent: 'a newer command took its place',
    sent: 'a newer command took its place; it was sent before, and the device had not acknowledged it',
  },
  force: {
    code: 8,
    state: 'canceled',
    unsent: 'canceled before it was sent',
    sent: 'canceled by force; the device may have run it',
    acknowledged: 'canceled by force; the device may have run it',
  },
  delete: {
    code: 9,
    state: 'canceled',
    unsent: 'device deleted',
    sent: 'device deleted',
    acknowledged: 'device deleted',
  },
  'move-to': {
    code: 10,
    state: 'canceled',
    unsent: 'device moved to another installation',
    sent: 'device moved to another installation',
    acknowledged: 'device moved to another installation',
  },
} as const satisfies Record<string, EndingKind>;

export type EndCause = keyof typeof END_CAUSES;

/** Marks from this code on stay after an acknowledgement. */
export const LASTING = 8;

const NAMES = new Map(
  Object.entries(END_CAUSES).map(([name, { code }]) => [code as number, name as EndCause]),
);

export function endCauseOf(code: number | null): EndCause | null {
  return code === null ? null : (NAMES.get(code) ?? null);
}

/** States that a mark of this kind applies to. */
export function markable(ending: EndCause): readonly ExecutionState[] {
  return 'acknowledged' in END_CAUSES[ending] ? ['queued', 'sent', 'acked', 'running'] : ['queued', 'sent'];
}
