/** Outboxes of a gateway as whoever may read and write Redis finds them. */
import type { Delivery } from '../../bus/bus.ts';
import { isIncarnationOf } from '../../bus/credentials.ts';
import { decode } from '../../bus/encoding.ts';
import { keysWith } from '../../bus/redis/keys.ts';
import { waitFor } from '../wait.ts';
import type { World } from './world.ts';

const KEYS = keysWith('pp', false);
const HOLDER = 'gw1';

type Entry = [id: Uint8Array, fields: Uint8Array[]];

export interface Recorded<T> {
  result: T;
  /** Appends all of it once more. */
  repeat(): Promise<void>;
}

/**
 * What the gateway is sent while somebody does this. It takes nothing before a delivery that is `wanted` was
 * read here.
 */
export async function recorded<T>(
  { lab, redis }: World,
  act: () => Promise<T>,
  wanted: (delivery: Delivery) => boolean,
): Promise<Recorded<T>> {
  const leases = (await redis.make('redis', 'ZRANGE', KEYS.leases, 0, -1)) as Uint8Array[];
  const own = leases.map(String).filter((incarnation) => isIncarnationOf(HOLDER, incarnation));
  let found: { incarnation: string; fields: Uint8Array[] }[] = [];
  const read = async (incarnation: string) => {
    const outbox = KEYS.outbox(incarnation);
    const entries = (await redis.make('redis', 'XRANGE', outbox, '-', '+')) as Entry[];
    return entries.map(([, fields]) => ({ incarnation, fields }));
  };
  lab.deployment.freeze(HOLDER);
  let done: Promise<T>;
  try {
    done = act();
    done.catch(() => undefined);
    await waitFor(
      async () => {
        found = (await Promise.all(own.map(read))).flat();
        return found.some(({ fields }) => wanted(decode<Delivery>(fields[1] as Uint8Array)));
      },
      { what: 'the delivery' },
    );
  } finally {
    lab.deployment.thaw(HOLDER);
  }
  return {
    result: await done,
    async repeat() {
      for (const { incarnation, fields } of found) {
        const again = fields.map((field) => new Uint8Array(field));
        await redis.make('redis', 'XADD', KEYS.outbox(incarnation), '*', ...again);
        await redis.make('redis', 'PUBLISH', KEYS.outboxHint(incarnation), '');
      }
    },
  };
}
