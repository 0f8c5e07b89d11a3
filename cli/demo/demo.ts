/** `pushpoint demo`: the real programs with a thousand devices, and the outcome of every command. */

import type { Flags } from '../command-line.ts';
import { CliError, EXIT, type ExitCode } from '../exit-codes.ts';
import type { Shell } from '../shell.ts';
import { reckon } from './reckoning.ts';
import { Scenario, seconds } from './scenario.ts';
import { type Site, startSite } from './site.ts';

export async function runDemo(shell: Shell, flags: Flags): Promise<ExitCode> {
  const devices = flags.devices as number;
  const interrupt = new AbortController();
  const release = shell.onInterrupt(() => interrupt.abort());
  const line = (text: string): void => void shell.stdout.write(`${text}\n`);
  const tell = flags.json === true ? () => {} : (text: string) => line(`  ${text}`);
  const began = Date.now();
  let site: Site | undefined;
  let scenario: Scenario | undefined;
  try {
    site = await startSite(interrupt.signal, shell.env.PUSHPOINT_LOG_LEVEL ?? 'warn');
    tell(`administration server and gateway run, API on ${site.api.server}, ${seconds(began)}`);
    scenario = new Scenario(devices, { api: site.api, signal: interrupt.signal, tell });
    await scenario.enrol();
    await scenario.connect();
    await scenario.syncGroup();
    await scenario.startAndStopTask();
    await scenario.statistics();
    await scenario.syncAllWithPowerCut();

    const { executions, succeeded, lost, duplicated, repeated, differences } = await reckon(
      site.api,
      scenario.given,
    );
    tell(
      `the ledger and the devices' own lists, compared: ${executions} executions, ${succeeded} succeeded,`,
    );
    tell(
      `  ${lost} lost, ${duplicated} run twice; ${repeated} were interrupted by the power cut and repeated`,
    );
    for (const difference of differences) tell(`  ! ${difference}`);
    const elapsed = Math.round((Date.now() - began) / 100) / 10;
    if (flags.keep === true && flags.json !== true) tellHowToUse(line, site);
    line(JSON.stringify({ devices, executions, succeeded, lost, duplicated, seconds: elapsed }));
    if (flags.keep === true) await aborted(interrupt.signal);
    return lost === 0 && duplicated === 0 && succeeded === executions ? EXIT.ok : EXIT.fault;
  } catch (error) {
    if (interrupt.signal.aborted) throw new CliError(EXIT.interrupted, 'Interrupted.');
    throw error;
  } finally {
    await scenario?.stop();
    await site?.stop();
    release();
  }
}

function tellHowToUse(line: (text: string) => void, site: Site): void {
  line('');
  line('Everything goes on running until Ctrl-C. In another terminal:');
  line(`  export PUSHPOINT_SERVER=${site.api.server} PUSHPOINT_TOKEN_FILE=${site.tokenFile}`);
  line('  pushpoint devices list --limit 10');
  line('  pushpoint sync --all --wait');
  line('');
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
}
