/**
 * The frames of one end as they travel (T-14): numbered and sealed on their way out, opened on their way in.
 * Both keep their order, whether the cipher gives them at once or later.
 */
import { sealCounter } from '../protocol/index.ts';
import type { FrameCipher } from './frame-cipher.ts';

export interface SealedFramesHooks {
  /** A message for the other end, in parts. */
  send(message: Uint8Array[]): void;
  /** A frame that the other end sealed, only valid during the call. */
  receive(frame: Uint8Array): void;
  /** A message that the other end did not send, or sent before: called once, and nothing comes after it. */
  forged(why: string): void;
}

export class SealedFrames {
  readonly #hooks: SealedFramesHooks;
  #cipher: FrameCipher;
  /** Counters of the last frame sealed, and of the last one that came. They only grow. */
  #sent = 0;
  #heard = 0;
  #isForged = false;
  readonly #outward = new InOrder();
  readonly #inward = new InOrder();

  constructor(cipher: FrameCipher, hooks: SealedFramesHooks) {
    this.#cipher = cipher;
    this.#hooks = hooks;
  }

  /** Both ends go on with another key. What the earlier one sealed is sent and taken no more. */
  rekey(cipher: FrameCipher): void {
    this.#cipher = cipher;
    this.#sent = 0;
    this.#heard = 0;
  }

  send(frame: Uint8Array): void {
    const cipher = this.#cipher;
    const message = cipher.seal(++this.#sent, frame);
    if (this.#outward.idle && !(message instanceof Promise)) {
      this.#hooks.send(message);
      return;
    }
    this.#outward.put(message, (sealed) => {
      if (cipher === this.#cipher) this.#hooks.send(sealed);
    });
  }

  receive(message: Uint8Array): void {
    if (this.#isForged) return;
    const counter = sealCounter(message);
    if (counter <= this.#heard) {
      const why = counter === 0 ? 'no sealed frame' : 'a frame that came before, or too late';
      this.#inward.put(null, () => this.#refuse(why));
      return;
    }
    this.#heard = counter;
    const cipher = this.#cipher;
    const frame = cipher.open(counter, message);
    if (this.#inward.idle && !(frame instanceof Promise)) {
      this.#take(frame);
      return;
    }
    this.#inward.put(frame, (opened) => {
      if (!this.#isForged && cipher === this.#cipher) this.#take(opened);
    });
  }

  #take(frame: Uint8Array | null): void {
    if (frame === null) this.#refuse('a frame that the other end did not send');
    else this.#hooks.receive(frame);
  }

  /** Calls `then` when everything that was to be sent is. */
  afterSent(then: () => void): void {
    this.#outward.put(null, then);
  }

  #refuse(why: string): void {
    if (this.#isForged) return;
    this.#isForged = true;
    this.#hooks.forged(why);
  }
}

/** Hands on values in the order they were put in, at once where none is waited for. */
class InOrder {
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** Nothing is waited for: what comes now may be handed on at once. */
  get idle(): boolean {
    return this.#waiting === 0;
  }

  put<T>(value: T | Promise<T>, take: (value: T) => void): void {
    if (this.idle && !(value instanceof Promise)) {
      take(value);
      return;
    }
    this.#waiting += 1;
    this.#last = Promise.all([value, this.#last])
      .then(([given]) => {
        this.#waiting -= 1;
        take(given);
      })
      .catch(report);
  }
}

/** An error of whoever takes it, as if the value had come at once. */
function report(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
