/** A tunnel leg, wherever its socket is: in this process, or in a sibling that forwards it. */
import type { LegGatewayMessage } from '../../protocol/index.ts';

/** Operations on a leg. They do nothing after it has closed. */
export interface Leg {
  /** Where it came from, for the log. */
  readonly address: string;
  say(message: LegGatewayMessage): void;
  /** `bytes` is used during the call only. A leg that is over its bound closes itself. */
  frame(bytes: Uint8Array): void;
  close(code: number, reason: string): void;
  readonly bufferedBytes: number;
}

/** Events of a leg for its owner. `closed` is called exactly once, also after `Leg.close`. */
export interface LegInput {
  text(text: string): void;
  /** `bytes` is only valid during the call. */
  frame(bytes: Uint8Array): void;
  closed(): void;
}

/**
 * Most bytes buffered for one leg: everything that its other end may have in flight (T-9), plus headers and
 * small frames.
 */
export const LEG_BUFFER_BYTES = 2 * 1024 * 1024;

/** A leg whose WebSocket is in this process. */
export interface LocalLeg extends Leg {
  /** Its ticket was valid. */
  trusted(): void;
  /** Sends an encoded text message; `text` is used during the call only. */
  sayText(text: Uint8Array): void;
}
