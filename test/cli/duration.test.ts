import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatDuration, parseDuration, roughDuration } from '../../cli/config/duration.ts';

test('durations are read with every unit and in parts', () => {
  assert.is(parseDuration('500ms'), 500);
  assert.is(parseDuration('30s'), 30_000);
  assert.is(parseDuration('15m'), 900_000);
  assert.is(parseDuration('2h'), 7_200_000);
  assert.is(parseDuration('7d'), 604_800_000);
  assert.is(parseDuration('1h30m'), 5_400_000);
  assert.is(parseDuration('0'), 0);
});

test('a number without a unit, a sign, a fraction or a word is no duration', () => {
  for (const text of ['', '30', '-5s', '1.5h', '5 s', 's', '5w', 'soon', '999999999999d']) {
    assert.is(parseDuration(text), null, text);
  }
});

test('what is formatted reads back as the same', () => {
  for (const ms of [1, 999, 1_000, 61_001, 90_000, 3_600_000, 90_061_001]) {
    assert.is(parseDuration(formatDuration(ms)), ms);
  }
});

test('in tables a duration has two units at most', () => {
  assert.is(roughDuration(90_061_001), '1d1h');
  assert.is(roughDuration(999), '0s');
  assert.is(roughDuration(-5), '0s');
  assert.is(roughDuration(3_605_000), '1h5s');
});

test.run();
