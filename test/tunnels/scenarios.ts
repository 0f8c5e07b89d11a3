import { gatewayGone } from './scenarios/gateway-gone.ts';
import { manyTunnels } from './scenarios/many-tunnels.ts';
import { openSsh } from './scenarios/open-ssh.ts';
import { speed } from './scenarios/speed.ts';
import { unwelcome } from './scenarios/unwelcome.ts';
import type { Scenario } from './world.ts';

export const SCENARIOS: readonly Scenario[] = [openSsh, manyTunnels, speed, unwelcome, gatewayGone];
