import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { OneAtATime } from '../../../bus/one-at-a-time.ts';
import { random } from './seed.ts';

const MOST = 10;

test('a request during a run causes another run after it', async () => {
  const seen: number[] = [];
  let asked = 0;
  let end: () => void = () => {};
  const work = new OneAtATime(
    async () => {
      // It looks at its beginning: what comes later it does not see.
      seen.push(asked);
      await new Promise<void>((resolve) => {
        end = resolve;
      });
    },
    (error) => {
      throw error;
    },
  );
  void work.ask();
  for (let n = 1 + random.below(MOST); n > 0; n--) {
    asked++;
    void work.ask();
  }
  end();
  await work.settled();
  await new Promise((resolve) => setImmediate(resolve));
  end();
  await work.settled();
  assert.equal(seen, [0, asked]);
});

test.run();
