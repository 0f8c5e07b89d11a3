/** `pushpoint gateway`: a push server; joins administration servers through Redis. */
import { loadConfig } from '../config/load.ts';
import type { ExitCode } from '../exit-codes.ts';
import type { Flags } from '../operator/operator-command.ts';
import type { Shell } from '../shell.ts';
import { busPart, gatewayConfig, gatewayPart } from './compose.ts';
import { Assembly, runUntilSignal } from './lifecycle.ts';
import { programLog } from './logger.ts';
import { sayReady } from './ready.ts';

export async function runGateway(shell: Shell, flags: Flags): Promise<ExitCode> {
  const config = loadConfig('gateway', { flags, env: shell.env });
  const own = gatewayConfig(config);
  const log = programLog(config.logLevel);
  const { bus, part } = busPart(config.redisUrl, log);
  const { worker, part: gateway } = gatewayPart(own, bus, log, config.stopDeadline);

  return runUntilSignal({
    shell,
    log,
    assembly: new Assembly([part, gateway], log),
    stopDeadlineMs: config.stopDeadline,
    onReady() {
      const address = own.initial.address.replace(/:0(?=\/|$)/, `:${worker.port}`);
      sayReady(
        shell,
        {
          program: 'gateway',
          pid: process.pid,
          gateway: address,
          gatewayPort: worker.port,
          metricsPort: worker.metricsPort,
        },
        [
          `Gateway ${config.name} listens on port ${worker.port}.`,
          `  Devices dial  ${address}`,
          `  Health        http://${config.metricsHost}:${worker.metricsPort}/ready`,
        ],
        config.readyFile,
      );
    },
  });
}
