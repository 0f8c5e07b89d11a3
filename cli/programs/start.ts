/** `pushpoint start`: everything in one process, joined by the in-process bus. */
import { relative } from 'node:path';
import { Certificates } from '../../bus/tls/certificates.ts';
import type { Flags } from '../command-line.ts';
import { loadConfig } from '../config/load.ts';
import type { ExitCode } from '../exit-codes.ts';
import type { Shell } from '../shell.ts';
import { adminParts, waitingPlace } from './admin-parts.ts';
import { busPart } from './bus-part.ts';
import { gatewayConfig, gatewayPart, registrationPart } from './gateway-parts.ts';
import { Assembly, runUntilSignal } from './lifecycle.ts';
import { programLog } from './logger.ts';
import { apiUrl, sayReady } from './ready.ts';
import { WaitingRoom } from './waiting-room.ts';

export async function runStart(shell: Shell, flags: Flags): Promise<ExitCode> {
  const config = loadConfig('start', { flags, env: shell.env });
  const scheme = config.tlsCert === undefined ? 'ws' : 'wss';
  const forGateway = gatewayConfig(config, (port) => `${scheme}://127.0.0.1:${port}`);
  const log = programLog(config.logLevel);
  const room = new WaitingRoom(waitingPlace(config), log);
  const certificates = new Certificates(log);
  const { bus, part } = busPart({ room, log, certificates });
  const admin = adminParts(config, { bus, room, log, certificates });
  const gateway = gatewayPart(forGateway, { bus, log, certificates }, config.stopDeadline);

  return runUntilSignal({
    shell,
    log,
    assembly: new Assembly(
      [room.enter(), part, ...admin.parts, gateway.part, registrationPart(config.name, bus)],
      log,
    ),
    stopDeadlineMs: config.stopDeadline,
    live: () => gateway.worker.liveness().live,
    reload: () => certificates.reread(),
    onReady() {
      const api = apiUrl(config, admin.port);
      const address = config.address ?? `${scheme}://127.0.0.1:${gateway.worker.port}`;
      const server = api === 'http://127.0.0.1:8080' ? '' : ` --server ${api}`;
      const tokenFile = relative(process.cwd(), admin.tokenFile) || admin.tokenFile;
      const token = tokenFile === 'data/admin-token' ? '' : ` --token-file ${tokenFile}`;
      sayReady(
        shell,
        {
          program: 'start',
          pid: process.pid,
          api,
          apiPort: admin.port,
          gateway: address,
          gatewayPort: gateway.worker.port,
          metricsPort: gateway.worker.metricsPort,
          tokenFile: admin.tokenFile,
        },
        [
          'Pushpoint runs.',
          `  HTTP API     ${api}  (browse it: ${api}/docs)`,
          `  Gateway      ${address}`,
          `  Admin token  ${tokenFile}`,
          '',
          'In another terminal, make this machine a device and force a synchronisation:',
          `  pushpoint agent --server ${api} --token "$(pushpoint enroll-token --quiet${server}${token})"`,
          `  pushpoint sync --all --wait${server}${token}`,
          '',
          'Ctrl-C stops it in order.',
        ],
        config.readyFile,
      );
    },
  });
}
