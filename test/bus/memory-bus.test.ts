import { test } from 'uvu';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { busContract } from './contract.ts';

busContract({
  async fresh() {
    const bus = new MemoryBus();
    await bus.start();
    return bus;
  },
  unstarted: () => new MemoryBus(),
  close: async () => {},
});

test.run();
