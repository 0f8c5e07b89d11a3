import * as assert from 'uvu/assert';
import { JOINS } from '../../bus/bus.ts';
import type { Rule } from './bus-under-test.ts';
import { numbers } from './samples.ts';

const id = (number: number) => number.toString(16).padStart(64, '0');
const bytes = (text: string) => new Uint8Array(Buffer.from(text));

export function joinRules(rule: Rule): void {
  rule(
    'a request to join waits until it is answered, and its answer is found by its id',
    async ({ joins }) => {
      assert.equal(await joins.waiting(), []);
      assert.is(await joins.ask(id(1), bytes('one')), 'asked');
      assert.is(await joins.ask(id(2), bytes('two')), 'asked');
      assert.is(await joins.ask(id(1), bytes('one')), 'asked');
      const waiting = await joins.waiting();
      assert.equal(waiting.map((each) => [each.id, Buffer.from(each.request).toString()]).sort(), [
        [id(1), 'one'],
        [id(2), 'two'],
      ]);
      assert.is(await joins.answerTo(id(1)), null);
      await joins.answer(id(1), bytes('welcome'));
      assert.is(Buffer.from((await joins.answerTo(id(1))) ?? []).toString(), 'welcome');
      assert.is(await joins.answerTo(id(2)), null);
      assert.equal(
        (await joins.waiting()).map((each) => each.id),
        [id(2)],
      );
      await joins.drop([id(2), id(3)]);
      await joins.drop([]);
      assert.equal(await joins.waiting(), []);
    },
  );

  rule('requests to join are bounded in number and length', async ({ joins }) => {
    for (const number of numbers(1, JOINS.requestsMax)) {
      assert.is(await joins.ask(id(number), bytes('request')), 'asked');
    }
    assert.is(await joins.ask(id(1_000), bytes('request')), 'full');
    assert.is(await joins.ask(id(7), bytes('again')), 'asked');
    assert.is((await joins.waiting()).length, JOINS.requestsMax);
    await joins.drop([id(1)]);
    assert.is(await joins.ask(id(1_000), bytes('request')), 'asked');
    const long = joins.ask(id(1_001), new Uint8Array(JOINS.requestBytesMax + 1));
    assert.instance(await long.catch((error) => error), RangeError);
  });
}
