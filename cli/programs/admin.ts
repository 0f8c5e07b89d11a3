/** `pushpoint admin`: an administration server; gateways join it through Redis. */

import { GatewayKeyRing } from '../../admin-api/pki/gateway-key-ring.ts';
import { Certificates } from '../../bus/tls/certificates.ts';
import type { Flags } from '../command-line.ts';
import { loadConfig } from '../config/load.ts';
import { redisSettings } from '../config/redis.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import type { Shell } from '../shell.ts';
import { adminParts, waitingPlace } from './admin-parts.ts';
import { busPart } from './bus-part.ts';
import { Assembly, runUntilSignal } from './lifecycle.ts';
import { programLog } from './logger.ts';
import { apiUrl, sayReady } from './ready.ts';
import { serverJoining } from './server-joining.ts';
import { WaitingRoom } from './waiting-room.ts';

export async function runAdmin(shell: Shell, flags: Flags): Promise<ExitCode> {
  const config = loadConfig('admin', { flags, env: shell.env });
  const log = programLog(config.logLevel);
  const room = new WaitingRoom(waitingPlace(config), log);
  const certificates = new Certificates(log);
  const gatewayKeys = new GatewayKeyRing();
  const { bus, part } = busPart({ redis: redisSettings(config), room, log, certificates, gatewayKeys });
  let over: (end: { reason: string; code: ExitCode }) => void = () => {};
  const failed = new Promise<{ reason: string; code: ExitCode }>((resolve) => {
    over = resolve;
  });
  const joining = serverJoining(config, { bus, room, log, certificates }, (reason) =>
    over({ reason, code: EXIT.refused }),
  );
  const box = joining && { box: joining.box };
  const admin = adminParts(config, { bus, room, log, certificates, gatewayKeys, ...box });
  // It joins first: without the key of the secrets nothing in the database can be opened.
  const parts = joining ? [joining.part, ...admin.parts, joining.follow(admin.store)] : admin.parts;

  return runUntilSignal({
    shell,
    log,
    failed,
    assembly: new Assembly([room.enter(), part, ...parts], log),
    stopDeadlineMs: config.stopDeadline,
    reload: () => certificates.reread(),
    onReady() {
      const api = apiUrl(config, admin.port);
      sayReady(
        shell,
        { program: 'admin', pid: process.pid, api, apiPort: admin.port, tokenFile: admin.tokenFile },
        [
          'The administration server runs.',
          `  HTTP API     ${api}  (browse it: ${api}/docs)`,
          `  Admin token  ${admin.tokenFile}  (written by the first start on an empty database)`,
          '',
          'Join a gateway to it, with REDIS_URL set:',
          '  pushpoint gateways join-token gw1',
          '  pushpoint gateway --name gw1 --address ws://this-machine:13295 --join-token …',
        ],
        config.readyFile,
      );
    },
  });
}
