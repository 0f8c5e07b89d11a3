/** The services that the HTTP API exposes, built over the parts of the server. */
import { coverageOf } from './balance/coverage.ts';
import { explainPlacement } from './balance/explain-placement.ts';
import type { AdminParts } from './compose.ts';
import { explain } from './dispatch/explain.ts';
import type { HttpServices } from './http/services.ts';
import { AuthorityService } from './services/authority-service.ts';
import { CommandService } from './services/command-service.ts';
import { DeviceService } from './services/device-service.ts';
import { EnrolmentService } from './services/enrolment-service.ts';
import { GatewayService } from './services/gateway-service.ts';
import { GroupService } from './services/group-service.ts';
import { JoinService } from './services/join-service.ts';
import { KeyRotationService } from './services/key-rotation-service.ts';
import { KeysService } from './services/keys-service.ts';
import { LocateService } from './services/locate-service.ts';
import { SecretResults } from './services/secret-results.ts';
import { TokenService } from './services/token-service.ts';
import { TunnelService } from './services/tunnel-service.ts';

export function composeHttp(parts: AdminParts): HttpServices {
  const { store, bus, directory, installation, leases: workers, settings } = parts;
  const { resendAfterMs } = settings;
  const withheld = (device: string) => parts.cloned.withheld(device);
  const enrolment = new EnrolmentService(parts);
  return {
    ...parts,
    directory: {
      get state() {
        return directory.state;
      },
      installation,
    },
    commands: new CommandService(parts),
    secretResults: new SecretResults(parts),
    explain: (device, command) => explain({ store, bus, workers, resendAfterMs, withheld }, device, command),
    placement: (device) => explainPlacement(parts, device),
    coverage: () => coverageOf(parts),
    groups: new GroupService(parts),
    devices: new DeviceService(parts),
    enrolment,
    locate: new LocateService(parts),
    gateways: new GatewayService(parts),
    joins: new JoinService(parts),
    authorities: new AuthorityService(parts),
    tunnels: new TunnelService(parts, settings.tunnels),
    tokens: new TokenService(parts),
    keys: new KeysService(parts),
    keyRotation: new KeyRotationService({ ...parts, enrolment }),
    events: parts.hub,
  };
}
