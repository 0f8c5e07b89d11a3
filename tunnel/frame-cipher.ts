import type { TunnelSide } from '../protocol/index.ts';

/**
 * Encrypts the frames of one end, and decrypts those of the other (T-14): AES-256-GCM with a key for each
 * direction. What it is called for in turn it may give later, in any order.
 */
export interface FrameCipher {
  /**
   * The message of a frame, in parts that follow each other. They are the caller's; `frame` is only read
   * during the call.
   */
  seal(counter: number, frame: Uint8Array): Uint8Array[] | Promise<Uint8Array[]>;
  /**
   * The frame of a message; `null` when the other end did not seal it. `message` is only read during the
   * call.
   */
  open(counter: number, message: Uint8Array): Uint8Array | null | Promise<Uint8Array | null>;
}

/** `key`: the tunnel's, 32 bytes; `side`: whose end it is for. */
export type MakeFrameCipher = (key: Uint8Array, side: TunnelSide) => FrameCipher | Promise<FrameCipher>;
