import type { ServedAddress } from '../../bus/bus.ts';
import type { FleetGateway } from '../balance/fleet.ts';
import type { Meta } from '../store/store.ts';

const KEY = 'gateway-addresses';
/**
 * As long as a command may wait for its device: that long a device may be away and return to the old address.
 */
const FORMER_KEPT_MS = 30 * 86_400_000;
const FORMER_MAX = 4;

export interface FormerAddress extends ServedAddress {
  /** When the gateway stops listening there, milliseconds since the Unix epoch. */
  until: number;
}

/** A gateway's last address, and its former ones. */
export interface ToldAddress extends ServedAddress {
  former: FormerAddress[];
}

type Addresses = ReadonlyMap<string, ToldAddress>;

/**
 * The addresses of gateways that devices get. An operator's setting counts once a worker listens there, so no
 * device gets an unusable address. They are stored, because gateways that are down stay in devices' lists.
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

  /** Reads the stored addresses, and records those that the gateways' workers report. */
  follow(fleet: readonly FleetGateway[]): Promise<void> {
    return this.#change((before) => renewed(before, fleet, this.#now()));
  }

  /** Releases the gateway's former ports. */
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
