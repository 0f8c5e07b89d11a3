/** A leg of a tunnel, wherever its socket is: in this process, or in a sibling's that passes it through. */
import type { LegGatewayMessage } from '../../protocol/index.ts';

/** What may be done to a leg. Nothing happens after it closed. */
export interface Leg {
  /** Where it came from, for the log. */
  readonly address: string;
  say(message: LegGatewayMessage): void;
  /** `bytes` is used during the call only. A leg that is over its bound closes itself. */
  frame(bytes: Uint8Array): void;
  close(code: number, reason: string): void;
  readonly bufferedBytes: number;
}

/** What a leg does, told to whoever has it. `closed` comes exactly once, also after `Leg.close`. */
export interface LegInput {
  text(text: string): void;
  /** `bytes` is only valid during the call. */
  frame(bytes: Uint8Array): void;
  closed(): void;
}

/**
 * Bytes that may wait for one leg: all that its other end may have on the way (T-9), headers and small frames
 * on top.
 */
export const LEG_BUFFER_BYTES = 2 * 1024 * 1024;

/** A leg whose WebSocket is in this process. */
export interface LocalLeg extends Leg {
  /** Its ticket was good. */
  trusted(): void;
  /** A text message as it is to be sent; `text` is used during the call only. */
  sayText(text: Uint8Array): void;
}
