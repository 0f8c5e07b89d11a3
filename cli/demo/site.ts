/** The programs of the demo: what `pushpoint start` runs, in a temporary folder and on free ports. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Certificates } from '../../bus/tls/certificates.ts';
import { ApiClient } from '../api/api-client.ts';
import { loadConfig } from '../config/load.ts';
import { adminParts } from '../programs/admin-parts.ts';
import { busPart } from '../programs/bus-part.ts';
import { gatewayConfig, gatewayPart, registrationPart } from '../programs/gateway-parts.ts';
import { Assembly } from '../programs/lifecycle.ts';
import { programLog } from '../programs/logger.ts';
import { apiUrl } from '../programs/ready.ts';
import { WaitingRoom } from '../programs/waiting-room.ts';

export interface Site {
  api: ApiClient;
  tokenFile: string;
  stop(): Promise<void>;
}

const STOP_DEADLINE_MS = 8_000;

export async function startSite(signal: AbortSignal, logLevel: string): Promise<Site> {
  const folder = mkdtempSync(join(tmpdir(), 'pushpoint-demo-'));
  const flags = {
    dataDir: folder,
    apiPort: '0',
    host: '127.0.0.1',
    port: '0',
    metricsPort: '0',
    drainPerSecond: '100000',
    logLevel,
  };
  const config = loadConfig('start', { flags, env: {} });
  const log = programLog(config.logLevel);
  const room = new WaitingRoom({ host: config.apiHost, port: null }, log);
  const certificates = new Certificates(log);
  const { bus, part } = busPart({ room, log, certificates });
  const admin = adminParts(config, { bus, room, log, certificates });
  const gateway = gatewayPart(
    gatewayConfig(config, (port) => `ws://127.0.0.1:${port}`),
    { bus, log, certificates },
    STOP_DEADLINE_MS,
  );
  const assembly = new Assembly(
    [part, ...admin.parts, gateway.part, registrationPart(config.name, bus)],
    log,
  );
  try {
    await assembly.start();
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  return {
    api: new ApiClient({
      server: apiUrl(config, admin.port),
      token: readFileSync(admin.tokenFile, 'utf8').trim(),
      timeoutMs: 30_000,
      signal,
    }),
    tokenFile: admin.tokenFile,
    async stop() {
      await assembly.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
