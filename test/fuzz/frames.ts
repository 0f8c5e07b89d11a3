/**
 * What fuzzed devices say: right frames, wrong ones, and what is wrong about them by the protocol's own
 * codec.
 */
import {
  COMPLIANCE,
  type DeviceMessage,
  decodeDeviceMessage,
  encodeDeviceMessage,
  LIMITS,
  ProtocolError,
  type StatusBody,
} from '../../protocol/index.ts';
import type { Random } from '../faults/random.ts';
import { mutateFrame, vectorFrames } from '../protocol/frame-mutator.ts';
import { makeResult, makeStatus, type ResultMaker } from '../results.ts';

const STATES = ['succeeded', 'failed', 'rejected', 'canceled', 'expired', 'timed-out'] as const;
const UNKNOWN_IDS = 1_000;

/** A message that any device may send in a session; `ids`: commands that it was given. */
function rightMessage(random: Random, device: ResultMaker, ids: readonly string[]): DeviceMessage {
  const known = ids.length > 0 && random.next() < 0.5;
  const id = known ? random.one(ids) : `unknown-${random.below(UNKNOWN_IDS)}`;
  switch (random.below(5)) {
    case 0:
      return { t: 'ack', id };
    case 1:
      return { t: 'progress', id, percent: random.below(101), note: 'fuzz' };
    case 2:
    case 3:
      return makeResult(device, id, { state: random.one(STATES), ...dataOf(random) });
    default:
      return { t: 'beat', status: makeStatus(device, statusOf(random)) };
  }
}

function statusOf(random: Random): StatusBody {
  const number = 1 + random.below(1_000);
  return { number, policy: `p${random.below(3)}`, compliance: random.one(COMPLIANCE) };
}

/** Mostly little, as devices have it; sometimes as much as there may be. */
function dataOf(random: Random): { data?: unknown; reason?: string } {
  const drawn = random.next();
  if (drawn < 0.6) return {};
  if (drawn < 0.95) return { data: { n: random.below(1_000), list: [1, 'two', null] }, reason: 'fuzz' };
  return { data: 'x'.repeat(LIMITS.resultBytes - 100 - random.below(1_000)) };
}

export function rightFrame(random: Random, device: ResultMaker, ids: readonly string[]): Uint8Array {
  return encodeDeviceMessage(rightMessage(random, device, ids));
}

/** May be right by chance. */
export function wrongFrame(random: Random, device: ResultMaker, ids: readonly string[]): Uint8Array {
  switch (random.below(6)) {
    case 0:
      return randomBytes(random, random.below(80));
    case 1:
      return mutateFrame(rightFrame(random, device, ids), random.below.bind(random));
    case 2:
      return mutateFrame(random.one(vectorFrames), random.below.bind(random));
    case 3:
      return random.one(vectorFrames);
    case 4:
      // Deep, and cut off.
      return new Uint8Array(1 + random.below(2_000)).fill(random.one([0x81, 0x91, 0xdd, 0xdf, 0xc1]));
    default:
      return new Uint8Array(LIMITS.frameBytes + 1 + random.below(1_000));
  }
}

export function randomBytes(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(256));
}

/** Why the gateway must end a session that sent this frame; `null` when it must not. */
export function faultOf(frame: Uint8Array): string | null {
  if (frame.length > LIMITS.frameBytes) return 'F-3';
  try {
    // After `welcome` the device sends no `prove` (H-7).
    return decodeDeviceMessage(frame)?.t === 'prove' ? 'H-7' : null;
  } catch (error) {
    if (error instanceof ProtocolError) return error.message;
    throw error;
  }
}
