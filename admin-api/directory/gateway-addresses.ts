import type { ServedAddress } from '../../bus/bus.ts';
import type { FleetGateway } from '../balance/fleet.ts';
import type { Meta } from '../store/store.ts';

const KEY = 'gateway-addresses';
/**
 * As long as a command may wait for its device: so long may a device be away and come back by the old
 * address.
 */
const FORMER_KEPT_MS = 30 * 86_400_000;
const FORMER_MAX = 4;

export interface FormerAddress extends ServedAddress {
  /** Until when the gateway listens there, milliseconds since the Unix epoch. */
  until: number;
}

/** Where a gateway listened last, and where before. */
export interface ToldAddress extends ServedAddress {
  former: FormerAddress[];
}

type Addresses = ReadonlyMap<string, ToldAddress>;

/**
 * The addresses that devices are told of gateways: what an operator set counts once a worker listens there,
 * so an address that cannot be used is told to nobody. Kept in the store, as gateways are told of devices
 * also while they are down.
 */
export class GatewayAddresses {
  readonly #meta: Pick<Meta, 'get' | 'replace'>;
  readonly #now: () => number;
  #known: Addresses = new Map();

  constructor(meta: Pick<Meta, 'get' | 'replace'>, now: () => number) {
    this.#meta = meta;
    this.#now = now;
  }

  /** As last read. */
  of(gateway: string): ToldAddress | undefined {
    return this.#known.get(gateway);
  }

  /** Reads what is recorded, and records what the gateways' workers say. */
  follow(fleet: readonly FleetGateway[]): Promise<void> {
    return this.#change((before) => renewed(before, fleet, this.#now()));
  }

  /** The gateway's former ports are needed for something else. */
  forgetFormer(gateway: string): Promise<void> {
    return this.#change((before) => {
      const known = before.get(gateway);
      return known ? new Map([...before, [gateway, { ...known, former: [] }]]) : before;
    });
  }

  async #change(next: (before: Addresses) => Addresses): Promise<void> {
    for (;;) {
      const stored = await this.#meta.get(KEY);
      const changed = next(
        new Map(Object.entries(JSON.parse(stored ?? '{}') as Record<string, ToldAddress>)),
      );
      const text = JSON.stringify(Object.fromEntries(changed));
      if (text === (stored ?? '{}') || (await this.#meta.replace(KEY, stored, text))) {
        this.#known = changed;
        return;
      }
    }
  }
}

function renewed(before: Addresses, fleet: readonly FleetGateway[], now: number): Addresses {
  const next = new Map<string, ToldAddress>();
  for (const gateway of fleet) {
    const known = before.get(gateway.name);
    const { port, address } = gateway.serves ?? known ?? {};
    if (port === undefined || address === undefined) continue;
    const left = known && known.port !== port ? [{ ...served(known), until: now + FORMER_KEPT_MS }] : [];
    const former = [...left, ...(known?.former ?? [])]
      .filter((each, i, all) => all.findIndex((other) => other.port === each.port) === i)
      .filter((each) => each.port !== port && each.until > now)
      .slice(0, FORMER_MAX);
    next.set(gateway.name, { port, address, former });
  }
  return next;
}

export function served({ port, address }: ServedAddress): ServedAddress {
  return { port, address };
}
