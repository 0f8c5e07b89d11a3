/**
 * Keys of devices' results (R-8) that were derived lately. Deriving one takes two MACs and checking a result
 * one, so a server that keeps the keys checks results in a third of the time. The table has a fixed size and
 * holds no objects: with more devices than it has room for, some keys are derived again.
 */
import { LIMITS } from '../protocol/index.ts';

/** Room for so many devices; 64 bytes each, which the operating system gives when they are used. */
const SLOTS = 2 ** 18;
/** Slots in which the key of one device may be. */
const WAYS = 4;
const KEY = LIMITS.secretBytes;
const ROW = 64;
/** A byte says how long the id is. */
const ID_MAX = ROW - KEY - 1;

export class ResultKeys {
  readonly #sets: number;
  /** Of each slot; 0 while it is empty. */
  readonly #generations: Uint32Array;
  readonly #rows: Uint8Array;
  #turn = 0;

  constructor(slots = SLOTS) {
    this.#sets = Math.max(1, Math.floor(slots / WAYS));
    this.#generations = new Uint32Array(this.#sets * WAYS);
    this.#rows = new Uint8Array(this.#sets * WAYS * ROW);
  }

  /** Valid until the next `keep`. */
  find(device: string, generation: number): Uint8Array | null {
    const first = this.#firstSlot(device);
    if (first < 0) return null;
    for (let slot = first; slot < first + WAYS; slot++) {
      if (this.#generations[slot] === generation && this.#isOf(slot, device)) {
        return this.#rows.subarray(slot * ROW, slot * ROW + KEY);
      }
    }
    return null;
  }

  keep(device: string, generation: number, key: Uint8Array): void {
    const first = this.#firstSlot(device);
    if (first < 0 || generation < 1 || generation > 0xffff_ffff) return;
    let slot = first;
    while (slot < first + WAYS && this.#generations[slot] !== 0) slot++;
    if (slot === first + WAYS) {
      this.#turn = (this.#turn + 1) % WAYS;
      slot = first + this.#turn;
    }
    this.#generations[slot] = generation;
    const row = slot * ROW;
    this.#rows.set(key, row);
    this.#rows[row + KEY] = device.length;
    for (let i = 0; i < device.length; i++) this.#rows[row + KEY + 1 + i] = device.charCodeAt(i);
  }

  /** -1: no place for this id. */
  #firstSlot(device: string): number {
    const { length } = device;
    if (length > ID_MAX) return -1;
    // FNV-1a.
    let hash = 0x811c9dc5;
    let bits = 0;
    for (let i = 0; i < length; i++) {
      const code = device.charCodeAt(i);
      bits |= code;
      hash = Math.imul(hash ^ code, 0x01000193);
    }
    if (bits > 0x7f) return -1;
    return ((hash >>> 0) % this.#sets) * WAYS;
  }

  #isOf(slot: number, device: string): boolean {
    const at = slot * ROW + KEY;
    if (this.#rows[at] !== device.length) return false;
    // Ids differ at their end rather than at their beginning.
    for (let i = device.length; i > 0; i--) {
      if (this.#rows[at + i] !== device.charCodeAt(i - 1)) return false;
    }
    return true;
  }
}
