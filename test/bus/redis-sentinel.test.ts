/** The contract over a Redis that sentinels watch, with TLS and passwords everywhere. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { makeCertificates } from '../services/certificates.ts';
import { startSentinelDeployment } from '../services/redis-sentinel.ts';
import { busContract } from './contract.ts';

const certificates = await makeCertificates();
const deployment = await startSentinelDeployment({
  password: 'p@ss/word: %',
  sentinelPassword: 'another',
  tls: certificates,
});
let count = 0;

function newBus(): RedisBus {
  count += 1;
  return new RedisBus({
    url: deployment.url,
    password: 'p@ss/word: %',
    sentinelPassword: 'another',
    tls: { ca: readFileSync(certificates.ca, 'utf8') },
    prefix: `t${count}`,
  });
}

busContract(
  {
    async fresh() {
      const bus = newBus();
      await bus.start();
      return bus;
    },
    unstarted: newBus,
    async close() {
      await deployment.stop();
      await certificates.remove();
    },
  },
  { bounds: false },
);

test.run();
