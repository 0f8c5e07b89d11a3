/**
 * `pushpoint config check PROGRAM`: shows what a program would start with and all errors in it; starts
 * nothing.
 */

import type { Flags } from '../command-line.ts';
import { type EffectiveSetting, loadConfigAndRest } from '../config/load.ts';
import { AGENT_FILE_KEYS, type ConfigOf, type Program } from '../config/options.ts';
import { redisSettings } from '../config/redis.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { Output } from '../output/output.ts';
import type { Shell } from '../shell.ts';
import { withGatewayBinary } from './gateway-binary.ts';
import { tlsFiles } from './program-settings.ts';

export type CheckedProgram = Exclude<Program, 'operator'>;

/** Throws `ConfigError` with every problem, as the program itself would. */
export async function checkConfig(shell: Shell, program: CheckedProgram, flags: Flags): Promise<ExitCode> {
  const otherKeys = program === 'agent' ? AGENT_FILE_KEYS : [];
  const { config, rest, effective } = loadConfigAndRest(program, { flags, env: shell.env, otherKeys });
  await checkTogether(program, config, rest);
  const out = new Output(shell, flags.json === true);
  if (out.json) {
    out.document({ program, settings: effective });
    return EXIT.ok;
  }
  out.table(COLUMNS, effective, '');
  out.note(`The settings of pushpoint ${program} are valid.`);
  return EXIT.ok;
}

const COLUMNS = [
  { title: 'SETTING', value: (row: EffectiveSetting) => row.name },
  { title: 'VALUE', value: (row: EffectiveSetting) => row.value, shrink: true },
  { title: 'FROM', value: (row: EffectiveSetting) => row.source },
];

/** Rules across several settings; each program's own modules know them. */
async function checkTogether(
  program: CheckedProgram,
  config: ConfigOf<CheckedProgram>,
  rest: Record<string, unknown>,
): Promise<void> {
  if (program === 'admin' || program === 'gateway') redisSettings(config as ConfigOf<'admin'>);
  if (program === 'admin' || program === 'start') {
    const { apiTlsCert, apiTlsKey } = config as ConfigOf<'admin'>;
    tlsFiles('--api-tls-cert', apiTlsCert, '--api-tls-key', apiTlsKey);
  }
  if (program === 'gateway' || program === 'start') {
    const { gatewayConfig } = await withGatewayBinary(() => import('./gateway-parts.ts'));
    gatewayConfig(config as ConfigOf<'gateway'>, (port) => `ws://127.0.0.1:${port}`);
  }
  if (program === 'agent') {
    const { agentConfig } = await import('./agent.ts');
    agentConfig(config as ConfigOf<'agent'>, rest);
  }
}
