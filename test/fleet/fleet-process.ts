/**
 * A process full of devices; `fleet.ts` forks it and tells it what to do. It ends when whoever forked it
 * does. With a folder as its argument the devices and their runs are kept there, and outlive the process.
 */
import { join } from 'node:path';
import { forEachAtOnce } from '../../cli/for-each-at-once.ts';
import { FleetDevice } from './fleet-device.ts';
import type { FromFleet, News, Order, ToFleet } from './fleet-messages.ts';
import { RunLog } from './run-log.ts';

/** News are gathered this long, milliseconds. */
const NEWS_EVERY_MS = 50;
const AT_ONCE = 50;

const [folder] = process.argv.slice(2);
const runs = new RunLog(folder === undefined ? undefined : join(folder, 'runs'));
const devices = new Map<string, FleetDevice>();
let news: News[] = [];

function tell(message: FromFleet): void {
  if (process.connected) process.send?.(message);
}

function note(item: News): void {
  if (news.length === 0) {
    setTimeout(() => {
      tell({ news });
      news = [];
    }, NEWS_EVERY_MS);
  }
  news.push(item);
}

function named(ids: readonly string[]): FleetDevice[] {
  return ids.map((id) => {
    const device = devices.get(id);
    if (!device) throw new Error(`${id} is not a device of this process`);
    return device;
  });
}

function make(name: string): FleetDevice {
  return new FleetDevice({ name, runs, tell: note, folder });
}

async function obey(order: Order): Promise<unknown> {
  switch (order.do) {
    case 'enrol': {
      const made = order.names.map(make);
      await forEachAtOnce(made, AT_ONCE, (device) => device.enrol(order.server, order.token));
      for (const device of made) devices.set(device.id, device);
      return made.map(({ id }) => id);
    }
    case 'resume':
      for (const { id, name } of order.devices) {
        const device = make(name);
        device.id = id;
        devices.set(id, device);
      }
      return;
    case 'start':
      return forEachAtOnce(named(order.ids), AT_ONCE, (device) => device.start(order.options));
    case 'stop':
      return forEachAtOnce(named(order.ids), AT_ONCE, (device) => device.stop());
    case 'crash':
      return forEachAtOnce(named(order.ids), AT_ONCE, (device) => device.crash());
    case 'copy':
      return forEachAtOnce(named(order.ids), AT_ONCE, (device) => device.copy({ probing: false }));
    case 'end copies':
      return forEachAtOnce(named(order.ids), AT_ONCE, (device) => device.endCopy());
    case 'settle':
      return forEachAtOnce(named(order.ids), AT_ONCE, (device) => device.settled());
    case 'runs':
      return runs.all;
  }
}

process.on('message', ({ id, order }: ToFleet) => {
  obey(order).then(
    (value) => tell({ id, value }),
    (error: unknown) =>
      tell({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
process.on('disconnect', () => process.exit());
