/** What the scenarios share, and what they add up. */

import { TunnelDeployment } from './deployment.ts';
import { type SshServer, startSshServer } from './openssh.ts';

export class World {
  readonly deployment: TunnelDeployment;
  readonly ssh: SshServer;
  /** Says on stderr how far the scenario is. */
  readonly say: (text: string) => void;
  /** Bytes that were checked at their other end, and transfers that were not as they should be. */
  bytes = 0;
  mismatched = 0;
  resumed = 0;
  relayRatio: number | null = null;
  sshRatio: number | null = null;

  private constructor(deployment: TunnelDeployment, ssh: SshServer, say: (text: string) => void) {
    this.deployment = deployment;
    this.ssh = ssh;
    this.say = say;
  }

  static async start(say: (text: string) => void): Promise<World> {
    const ssh = await startSshServer();
    try {
      return new World(await TunnelDeployment.start(), ssh, say);
    } catch (error) {
      await ssh.stop();
      throw error;
    }
  }

  /** A transfer that was checked; `fault` says what was wrong with it. */
  checked(bytes: number, fault: string | null, what: string): void {
    this.bytes += bytes;
    if (fault === null) return;
    this.mismatched += 1;
    this.say(`${what}: ${fault}`);
  }

  async stop(): Promise<void> {
    await this.deployment.stop();
    await this.ssh.stop();
  }
}

export interface Scenario {
  name: string;
  title: string;
  /** It mostly waits for time limits: it is played beside those before it that do. */
  waits?: true;
  /** Before the first of all. */
  prepare?(world: World): Promise<void>;
  run(world: World): Promise<void>;
}

export function since(began: number): string {
  return `${((performance.now() - began) / 1_000).toFixed(1)} s`;
}
