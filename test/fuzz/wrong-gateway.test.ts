// time limit: 360 s
/** The session fuzzer reports a faulty gateway: each test patches one fault into a copy of the program. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MutatedCopy } from '../faults/mutate/mutated-copy.ts';
import type { Patch } from '../faults/mutate/mutation.ts';
import { Program } from '../services/processes.ts';

const MESSAGES = 'gateway/receive/device-messages.js';
const LIMIT_MS = 180_000;
/** What should have ended and does not is waited for no longer than a test takes. */
const IMPATIENT: Patch = {
  file: 'test/fuzz/tally.js',
  find: 'const LIMIT_MS = 30_000;',
  replace: 'const LIMIT_MS = 5_000;',
};

interface Report {
  unpunished: number;
  unjust: number;
}

/** What a short run against the program with this patch says. */
async function fuzzed(patch: Patch): Promise<Report> {
  const copy = await MutatedCopy.make([patch, IMPATIENT]);
  try {
    const file = join(copy.dist, 'test/fuzz/run.js');
    const program = new Program(process.execPath, [file, '--frames', '500', '--seed', '7'], {});
    try {
      const report = await program.waitForJson<Report>((value) => 'unpunished' in value, LIMIT_MS);
      assert.equal(await program.exited, { code: 1, signal: null }, program.output);
      return report;
    } finally {
      await program.stop();
    }
  } finally {
    await copy.remove();
  }
}

test('the fuzzer reports a gateway that passes over wrong frames', async () => {
  const { unpunished, unjust } = await fuzzed({
    file: MESSAGES,
    find: 'connections.close(connection, CLOSE.protocolError, error.message);\n                return;',
    replace: 'return;',
  });
  assert.ok(unpunished > 0);
  assert.is(unjust, 0);
});

test('the fuzzer reports a gateway that ends sessions for right frames', async () => {
  const { unjust } = await fuzzed({
    file: MESSAGES,
    find: "if (message.t === 'prove')\n            throw",
    // Of those that honest devices beside do not send: what they lose is another finding.
    replace: "if (message.t === 'prove' || message.note === 'fuzz')\n            throw",
  });
  assert.ok(unjust > 0);
});

test.run();
