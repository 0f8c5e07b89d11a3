import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { clientFrame, joined, OPCODE, readFrames } from '../../bench/load/frames.ts';

/** What a server sends: the same without the mask bit and the mask. */
function serverFrame(payload: Uint8Array, opcode: number = OPCODE.binary): Uint8Array {
  const frame = clientFrame(payload, opcode);
  const head = frame.length - payload.length - 4;
  frame[1] = (frame[1] as number) & 0x7f;
  return joined([frame.subarray(0, head), payload]);
}

function read(bytes: Uint8Array): { frames: { opcode: number; payload: Uint8Array }[]; used: number } {
  const frames: { opcode: number; payload: Uint8Array }[] = [];
  const used = readFrames(bytes, (opcode, payload) => frames.push({ opcode, payload: payload.slice() }) > 0);
  return { frames, used };
}

test('frames of every form of length are read as they were written', () => {
  for (const length of [0, 1, 125, 126, 65_535, 65_536, 70_000]) {
    const payload = new Uint8Array(length).fill(7);
    const { frames, used } = read(serverFrame(payload, OPCODE.text));
    assert.is(used, serverFrame(payload).length);
    assert.equal(frames, [{ opcode: OPCODE.text, payload }]);
  }
});

test('a frame that has not come whole is left for later, wherever it is cut', () => {
  const first = serverFrame(new Uint8Array([1, 2, 3]));
  const second = serverFrame(new Uint8Array(300).fill(9));
  const both = joined([first, second]);
  for (let cut = 0; cut < both.length; cut++) {
    const { frames, used } = read(both.subarray(0, cut));
    assert.is(used, cut < first.length ? 0 : first.length);
    assert.is(frames.length, cut < first.length ? 0 : 1);
  }
});

test('reading ends where the taker says so', () => {
  const one = serverFrame(new Uint8Array([1]));
  assert.is(
    readFrames(joined([one, one]), () => false),
    one.length,
  );
});

test('a client frame carries a mask', () => {
  const frame = clientFrame(new Uint8Array([1, 2]));
  assert.equal([...frame], [0x82, 0x82, 0, 0, 0, 0, 1, 2]);
});

test.run();
