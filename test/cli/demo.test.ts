import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { startCli } from '../services/processes.ts';

test('the demo loses nothing, runs nothing twice, and says so in its last line', async () => {
  const demo = startCli(['demo', '--devices', '40']);
  const { code } = await demo.exited;
  await demo.stop();
  assert.is(code, 0, demo.output);
  const { seconds, ...last } = JSON.parse(demo.lines.at(-1) ?? '');
  assert.type(seconds, 'number');
  // 10 in the group, a task started and stopped, 10 statistics, 40 in the sync of all.
  assert.equal(last, { devices: 40, executions: 62, succeeded: 62, lost: 0, duplicated: 0 });
});

test.run();
