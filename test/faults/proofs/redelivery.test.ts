import { test } from 'uvu';
import { withLab } from '../../e2e/lab.ts';
import { Wire } from '../../e2e/wire.ts';
import { waitFor } from '../../wait.ts';
import { random } from './seed.ts';

const MOST = 5;
const REACHES_MS = 4_000;
const { testLab } = withLab({ bus: 'memory' });

testLab(
  'a command that was sent and never acknowledged is sent again when the device is back',
  async (lab) => {
    const wire = new Wire();
    const device = await lab.device({ wire });
    const before = wire.orders.length;
    const count = 1 + random.below(MOST);
    // The device dies with the orders in hand: it neither remembers them nor answers.
    device.store.append = () => new Promise(() => {});
    const sent: string[] = [];
    for (let n = 0; n < count; n++) sent.push((await lab.operator.send('message', [device])).id);
    await waitFor(() => wire.orders.length === before + count, { what: 'the orders to arrive' });
    await device.crash();
    Reflect.deleteProperty(device.store, 'append');
    await device.start();
    for (const id of sent) await lab.operator.reaches(id, device, 'succeeded', REACHES_MS);
  },
);

test.run();
