/** The contract over a Redis Cluster with a password, and what only a cluster can do to the bus. */
import { test } from 'uvu';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { startClusterDeployment } from '../services/redis-cluster.ts';
import { busContract } from './contract.ts';
import { bothSides } from './mac-keys.ts';

const deployment = await startClusterDeployment({ password: 'a secret' });
let count = 0;

function newBus(): RedisBus {
  count += 1;
  return new RedisBus({ url: deployment.url, password: 'a secret', prefix: `t${count}`, ...bothSides() });
}

busContract(
  {
    async fresh() {
      const bus = newBus();
      await bus.start();
      return bus;
    },
    unstarted: newBus,
    close: () => deployment.stop(),
  },
  { bounds: false },
);

test.run();
