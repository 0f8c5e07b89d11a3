/** `pushpoint agent`: the reference agent, which makes this machine a device. */
import { hostname } from 'node:os';
import { Agent, type AgentConfig, AgentConfigError, checkAgentConfig } from '../../device/agent/index.ts';
import type { Flags } from '../command-line.ts';
import { ConfigError, loadConfigAndRest } from '../config/load.ts';
import { AGENT_FILE_KEYS, type ConfigOf } from '../config/options.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import type { Shell } from '../shell.ts';
import { usableFolder } from './folders.ts';
import { Assembly, runUntilSignal } from './lifecycle.ts';
import { programLog } from './logger.ts';
import { sayReady } from './ready.ts';

export async function runAgent(shell: Shell, flags: Flags): Promise<ExitCode> {
  const { config, rest } = loadConfigAndRest('agent', {
    flags,
    env: shell.env,
    otherKeys: AGENT_FILE_KEYS,
  });
  const own = agentConfig(config, rest);
  const log = programLog(config.logLevel);
  const agent = new Agent(own, log);
  if (process.pid === 1) {
    const advice = 'run it under an init: tini, or the container engine (docker run --init)';
    log.warn({ advice }, 'this is process 1, which cannot reap what tasks leave behind');
  }
  process.once('exit', () => agent.kill());
  const part = {
    name: 'agent',
    async start() {
      usableFolder('--state', own.stateDir);
      await agent.start();
      // An agent that gateways refuse is not ready: it ends and says why.
      await agent.tried;
    },
    stop: () => agent.stop(config.stopDeadline * 0.75),
  };

  return runUntilSignal({
    shell,
    log,
    assembly: new Assembly([part], log),
    stopDeadlineMs: config.stopDeadline,
    failed: agent.ended.then(({ reason }) => ({ reason, code: EXIT.notAdmitted })),
    onReady() {
      const device = agent.device?.deviceId ?? '';
      sayReady(
        shell,
        { program: 'agent', pid: process.pid, device },
        [
          `This machine is device ${device} (${own.name}).`,
          `  State  ${own.stateDir}`,
          '',
          'Ctrl-C stops it.',
        ],
        config.readyFile,
      );
    },
  });
}

/** Throws `ConfigError` for errors that only the agent itself can detect. */
export function agentConfig(config: ConfigOf<'agent'>, rest: Record<string, unknown>): AgentConfig {
  try {
    return checkAgentConfig({
      server: config.server,
      ...(config.token === undefined ? {} : { token: config.token }),
      stateDir: config.state,
      name: config.name ?? hostname(),
      outputTailBytes: config.outputTailBytes,
      ...rest,
    });
  } catch (error) {
    if (!(error instanceof AgentConfigError)) throw error;
    throw new ConfigError(error.message.split('\n').map((line) => `${config.config ?? 'settings'}: ${line}`));
  }
}
