/** What an attacker can do with what was stolen. Runs in the attacker's own process. */
import { Redis } from 'ioredis';
import { type Heard, type Identity, type Script, StolenAddress } from './stolen-address.ts';

/** All that an attacker has. */
export interface Loot {
  redisUrl: string;
  /** The files of this gateway, which runs no more: the attacker listens at its address. */
  gateway?: Identity;
}

export class Moves {
  readonly #redis: Redis;
  readonly #address: StolenAddress | null;

  constructor({ redisUrl, gateway }: Loot) {
    this.#redis = new Redis(redisUrl);
    this.#address = gateway ? new StolenAddress(gateway) : null;
  }

  /** Any command; text in the answer comes as bytes. */
  async redis(command: string, ...args: (string | number | Uint8Array)[]): Promise<unknown> {
    const sent = args.map((each) => (each instanceof Uint8Array ? Buffer.from(each) : each));
    return this.#redis.callBuffer(command, ...sent);
  }

  /** Serves devices at the stolen gateway's address from now on. */
  async listen(script: Script): Promise<void> {
    await this.#stolen.listen(script);
  }

  async say(frames: readonly Uint8Array[]): Promise<void> {
    this.#stolen.say(frames);
  }

  async heard(): Promise<Heard> {
    return this.#stolen.heard;
  }

  async close(): Promise<void> {
    await this.#address?.close();
  }

  get #stolen(): StolenAddress {
    if (!this.#address) throw new Error('this attacker has no gateway');
    return this.#address;
  }
}
