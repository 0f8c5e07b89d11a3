/**
 * `npm run bench -- SCENARIO [options]`. The exit code is 1 when an invariant broke or a scenario failed;
 * bounds are in the rows.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Rows } from './rows.ts';
import { Bench, type Scenario } from './scenario.ts';
import { together } from './scenarios/together.ts';
import { SCENARIOS } from './scenarios.ts';

const USAGE = `npm run bench -- SCENARIO [SCENARIO ...] [options]
npm run bench -- all [options]      every scenario, within an hour on 2 cores
npm run bench -- quick [options]    every scenario small and short: reports figures, judges invariants only;
                                    with names, these scenarios so

  --devices N         devices, instead of the scenario's own number
  --json FILE         write the rows as JSON: {"rows":[{"scenario","what","unit","bound","figure","held"}...]}
  --together          the scenarios named on one fleet, one after the other, in place of a fleet for each
  --database-url URL  measure with this PostgreSQL database, which must be empty, instead of SQLite
  --keep DIR          keep databases with recorded devices there, for the next run with as many (SQLite only)
  --profile DIR       leave CPU profiles of the server programs there (they make the programs slower)
  --memory-limit GIB  give a scenario up when the machine has more memory than that in use (20)
  --time-limit MIN    ceiling: stop connecting devices after so many minutes (all: 57; alone: no limit)
  --measured FILE     scaling: use the rows of an earlier run (scenario costs), not the committed ones
  --write             scaling: write docs/scaling.md's figures and plots, and the figures it calculated with
  --list              the scenarios, a line each
  --help              this text

Rows go to stdout, progress to stderr. Everything runs on loopback and ends with the run.
`;

/** An hour, less what the last scenario measures after connecting. */
const ALL_WITHIN_MS = 57 * 60_000;

process.exitCode = await main();

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      devices: { type: 'string' },
      json: { type: 'string' },
      'database-url': { type: 'string' },
      keep: { type: 'string' },
      profile: { type: 'string' },
      'memory-limit': { type: 'string', default: '20' },
      'time-limit': { type: 'string' },
      together: { type: 'boolean', default: false },
      measured: { type: 'string' },
      write: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.list) {
    for (const { name, title, devices } of SCENARIOS) {
      console.log(`${name.padEnd(10)} ${title} (${devices} devices)`);
    }
    return 0;
  }
  if (values.help || positionals.length === 0) {
    process.stdout.write(USAGE);
    return values.help ? 0 : 2;
  }
  const names = positionals.filter((name) => name !== 'quick');
  const isQuick = names.length < positionals.length;
  const oneFleet = values.together || (isQuick && names.length === 0);
  const chosen = oneFleet ? [together(names.filter((name) => name !== 'all'))] : choose(names);
  const devices = values.devices === undefined ? undefined : positive('--devices', values.devices);
  const memoryLimit = positive('--memory-limit', values['memory-limit']) * 2 ** 30;
  const limitMs = timeLimitMs(values['time-limit'], names.includes('all'));
  const rows = new Rows(values.json);
  let failed = 0;
  for (const scenario of chosen) {
    const bench = new Bench(
      {
        scenario: scenario.name,
        devices: devices ?? (isQuick ? scenario.quickDevices : scenario.devices),
        quick: isQuick,
        databaseUrl: values['database-url'],
        keepDir: values.keep === undefined ? undefined : resolve(values.keep),
        profileDir: values.profile === undefined ? undefined : resolve(values.profile),
        memoryLimit,
        ...(limitMs !== undefined && { doneBy: limitMs }),
        measuredFile: values.measured,
        writeDocs: values.write,
      },
      rows,
    );
    if (!(await runOne(scenario, bench))) failed++;
  }
  return failed > 0 || rows.all.some(({ unit, held }) => unit === 'violations' && held === false) ? 1 : 0;
}

async function runOne(scenario: Scenario, bench: Bench): Promise<boolean> {
  bench.say(`${scenario.title}, ${bench.devices} devices`);
  const stop = (signal: NodeJS.Signals) => {
    bench.say(`${signal}: stops`);
    void bench.stop().then(() => process.exit(130));
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    await bench.watched(scenario.run(bench));
    bench.disturbance();
    return true;
  } catch (error) {
    bench.say(`FAILED: ${error instanceof Error ? error.stack : String(error)}`);
    bench.invariant('the scenario ran to its end', 1);
    return false;
  } finally {
    await bench.stop();
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

function choose(names: readonly string[]): readonly Scenario[] {
  if (names.length === 0 || names.includes('all')) return SCENARIOS;
  return names.map((wanted) => {
    const scenario = SCENARIOS.find(({ name }) => name === wanted);
    if (!scenario) throw new Error(`there is no scenario ${wanted}: --list tells which there are`);
    return scenario;
  });
}

/** On the clock of `performance.now()`, which begins with the process. */
function timeLimitMs(text: string | undefined, all: boolean): number | undefined {
  if (text !== undefined) return positive('--time-limit', text) * 60_000;
  return all ? ALL_WITHIN_MS : undefined;
}

function positive(flag: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`${flag}: a whole number from 1`);
  return value;
}
