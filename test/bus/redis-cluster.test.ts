/** The contract over a Redis Cluster with a password, and what only a cluster can do to the bus. */
import { test } from 'uvu';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { startClusterSite } from '../services/redis-cluster.ts';
import { busContract } from './contract.ts';

const site = await startClusterSite({ password: 'a secret' });
let count = 0;

function newBus(): RedisBus {
  count += 1;
  return new RedisBus({ url: site.url, password: 'a secret', prefix: `t${count}` });
}

busContract(
  {
    async fresh() {
      const bus = newBus();
      await bus.start();
      return bus;
    },
    unstarted: newBus,
    close: () => site.stop(),
  },
  { bounds: false },
);

test.run();
