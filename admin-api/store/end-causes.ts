/**
 * Ends that come neither from the device nor from a clock. What was never sent ends at once. What was sent
 * may have its end on the way: it is only marked, and ends when all that gateways had heard by then is
 * applied, unless that says otherwise.
 */
import type { ExecutionState } from '../../protocol/index.ts';

interface EndingKind {
  code: number;
  state: ExecutionState;
  /** Reasons: it was never sent; it was, and the device had not acknowledged it; it had. */
  unsent: string;
  sent: string;
  /** Absent where an acknowledgement takes the mark away. */
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

/** Marks from this code on stay when the device acknowledges. */
export const LASTING = 8;

const NAMES = new Map(
  Object.entries(END_CAUSES).map(([name, { code }]) => [code as number, name as EndCause]),
);

export function endCauseOf(code: number | null): EndCause | null {
  return code === null ? null : (NAMES.get(code) ?? null);
}

/** States in which a mark of this kind counts. */
export function markable(ending: EndCause): readonly ExecutionState[] {
  return 'acknowledged' in END_CAUSES[ending] ? ['queued', 'sent', 'acked', 'running'] : ['queued', 'sent'];
}
