import type { Lease, WorkerIdentity, WorkerLoad } from '../bus.ts';
import { isIncarnationOf, isWorkerOf } from '../credentials.ts';
import { decode } from '../encoding.ts';
import type { Keys } from './keys.ts';
import type { Authenticator, MacFault } from './macs/authenticator.ts';
import type { OwnCommands } from './owner.ts';

/**
 * Most that the clocks of programs may differ, milliseconds: a lease that ended longer ago is an old copy.
 */
const CLOCKS_APART_MS = 60_000;

/** `installation`: that of the worker; '' while unknown, absent when the program has no installations. */
export type StoredIdentity = WorkerIdentity & { installation?: string };

/** Whose key opened the record of a lease. */
export interface LeaseKey {
  gateway: string;
  serial: string;
}

export interface LeaseRecordsParts {
  commands: OwnCommands;
  keys: Keys;
  authenticator: Authenticator;
  now: () => number;
}

/** Leases as stored in Redis. Administration servers accept those that the gateway itself wrote. */
export class LeaseRecords {
  readonly #with: LeaseRecordsParts;
  /** Gateways of the leases that were read; an incarnation always belongs to the same gateway. */
  readonly #keyOf = new Map<string, LeaseKey>();

  constructor(parts: LeaseRecordsParts) {
    this.#with = parts;
  }

  /**
   * `none`: the lease is gone. `foreign`: it belongs to a gateway of another installation, which has not
   * noticed yet that this Redis is not its own. Otherwise: why its mac does not count.
   */
  async read(incarnation: string): Promise<Lease | 'none' | 'foreign' | MacFault> {
    const { commands, keys, authenticator } = this.#with;
    const key = keys.lease(incarnation);
    const [identity, load, since, heard, mac, heardMac] = await commands.do(key, (client) =>
      client.hmgetBuffer(key, 'identity', 'load', 'since', 'heard', 'seal', 'heardSeal'),
    );
    if (!identity || !load) {
      this.#keyOf.delete(incarnation);
      return 'none';
    }
    const said = decodeLease(identity, load);
    if (said?.installation && said.installation !== commands.installation) return 'foreign';
    const checked = await this.#check(incarnation, said?.identity, { identity, load, mac });
    if (said === null || checked !== 'good') {
      this.#keyOf.delete(incarnation);
      const why = checked === 'good' ? 'forged' : checked;
      if (why === 'forged') authenticator.refusals.refuse('lease', incarnation);
      return why;
    }
    const { installation: _, ...lease } = { ...said, incarnation, since: Number(since ?? 0) };
    const upTo = Number(heard ?? 0);
    const heardUpTo = authenticator.checksGateways ? await this.#heard(incarnation, upTo, heardMac) : upTo;
    const serial = this.#keyOf.get(incarnation)?.serial;
    return { ...lease, heardUpTo, ...(serial !== undefined && { serial }) };
  }

  /** Whether the worker left and had nothing more to append. */
  async left(incarnation: string): Promise<boolean> {
    const { commands, keys, authenticator } = this.#with;
    const value = await commands.do(keys.left(incarnation), (client) =>
      client.getBuffer(keys.left(incarnation)),
    );
    if (value === null) return false;
    if (!authenticator.checksGateways) return true;
    const mac = await authenticator.verify('left', value);
    if (mac === 'ended') return false;
    if (mac !== 'forged' && mac.sender === incarnation && isIncarnationOf(mac.gateway, incarnation))
      return true;
    authenticator.refusals.refuse('lease', `${incarnation} left`);
    return false;
  }

  /** Whose key authenticates messages to a worker; `null`: it has no lease that its gateway wrote. */
  async keyOf(incarnation: string): Promise<LeaseKey | null> {
    if (!this.#keyOf.has(incarnation)) await this.read(incarnation);
    return this.#keyOf.get(incarnation) ?? null;
  }

  async #check(
    incarnation: string,
    identity: WorkerIdentity | undefined,
    stored: { identity: Buffer; load: Buffer; mac: Buffer | null | undefined },
  ): Promise<'good' | MacFault> {
    const { authenticator, now } = this.#with;
    if (!authenticator.checksGateways) return 'good';
    const mac = await authenticator.verify('lease', stored.mac, [stored.identity, stored.load]);
    if (typeof mac === 'string') return mac;
    const good =
      identity !== undefined &&
      mac.gateway === identity.gateway &&
      mac.sender === incarnation &&
      mac.number > now() - CLOCKS_APART_MS &&
      isIncarnationOf(mac.gateway, incarnation) &&
      isWorkerOf(mac.gateway, identity.worker);
    if (!good) return 'forged';
    this.#keyOf.set(incarnation, { gateway: mac.gateway, serial: mac.serial });
    return 'good';
  }

  /** 0 if somebody else wrote it: then nothing ends because of it. */
  async #heard(incarnation: string, upTo: number, bytes: Buffer | null | undefined): Promise<number> {
    if (upTo === 0) return 0;
    const mac = await this.#with.authenticator.verify('heard', bytes);
    if (mac === 'ended') return 0;
    if (
      mac !== 'forged' &&
      mac.sender === incarnation &&
      isIncarnationOf(mac.gateway, incarnation) &&
      mac.number === upTo
    ) {
      return upTo;
    }
    this.#with.authenticator.refusals.refuse('lease', `${incarnation} heard`);
    return 0;
  }
}

/** `null` for a record that no gateway would write. */
function decodeLease(identity: Buffer, load: Buffer) {
  try {
    const { installation, ...worker } = decode<StoredIdentity>(identity);
    return { installation, identity: worker as WorkerIdentity, load: decode<WorkerLoad>(load) };
  } catch {
    return null;
  }
}
