import { type DirectoryDevice, DirectoryIncomplete, type DirectoryWriting } from '../bus.ts';
import { formatMark } from './directory-shard.ts';
import { SCRIPTS } from './scripts/index.ts';

export interface WritingParts {
  generation: string;
  installation: { id: string; epoch: number };
  /** Each shard's replication history when the write began. */
  histories: readonly string[];
  /** Runs a script on a shard. */
  run(
    shard: number,
    script: (typeof SCRIPTS)[keyof typeof SCRIPTS],
    args: readonly string[],
  ): Promise<unknown>;
  put(devices: readonly DirectoryDevice[], generation: string): Promise<void>;
}

/** One full write of the directory, shard by shard; each shard proves for itself that it is complete. */
export class RedisDirectoryWriting implements DirectoryWriting {
  readonly #parts: WritingParts;

  constructor(parts: WritingParts) {
    this.#parts = parts;
  }

  put(devices: readonly DirectoryDevice[]): Promise<void> {
    return this.#parts.put(devices, this.#parts.generation);
  }

  async finish(): Promise<string> {
    const { generation, histories } = this.#parts;
    await Promise.all(histories.map((_, shard) => this.#finishShard(shard)));
    return generation;
  }

  async #finishShard(shard: number): Promise<void> {
    const { generation, installation, histories, run } = this.#parts;
    const mark = formatMark({
      generation,
      installation: installation.id,
      epoch: installation.epoch,
      history: histories[shard] ?? '',
    });
    for (let swept = false; ; swept = true) {
      const answer = Number(await run(shard, SCRIPTS.finishDirectory, [generation, mark]));
      if (answer === 1) return;
      // They reappear after the sweep: another program writes into the shard.
      if (answer === 0 || swept) throw lost();
      await this.#sweep(shard);
    }
  }

  /** Devices that are no longer in the database. */
  async #sweep(shard: number): Promise<void> {
    const { generation, run } = this.#parts;
    let cursor = '0';
    do {
      cursor = String(await run(shard, SCRIPTS.sweepDirectory, [generation, cursor]));
      if (cursor === '') throw lost();
    } while (cursor !== '0');
  }
}

export function lost(): DirectoryIncomplete {
  return new DirectoryIncomplete('written parts of the directory are lost, or another server writes it');
}
