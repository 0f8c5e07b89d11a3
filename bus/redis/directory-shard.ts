/** The metadata that a shard of the directory keeps beside the devices, and what follows from it. */
import type { Installation } from '../bus.ts';

/**
 * Written with the last step of a full write, so that one command answers both "which device" and "is this
 * all of them".
 */
export interface Mark {
  generation: string;
  installation: string;
  epoch: number;
  /** Replication history in which it was written: under another history the last changes may be missing. */
  history: string;
}

export function formatMark({ generation, installation, epoch, history }: Mark): string {
  return `${generation} ${installation} ${epoch} ${history}`;
}

/** `null` for anything else. */
export function parseMark(text: string): Mark | null {
  const [generation = '', installation, epoch, history = ''] = text.split(' ');
  if (installation === undefined || epoch === undefined) return null;
  return { generation, installation, epoch: Number(epoch), history };
}

interface Counts {
  count: number;
  digest: number;
  version: number;
}

/** Result of `lookDirectory` for a shard. */
export interface ShardLook {
  mark: Mark | null;
  writing: boolean;
  /** Devices there are. */
  devices: number;
  counts: Counts;
}

export function parseLook([mark, writing, counts, devices]: readonly Buffer[]): ShardLook {
  const [count = Number.NaN, digest = 0, version = 0] = (counts?.toString() ?? '').split(' ').map(Number);
  return {
    mark: parseMark(mark?.toString() ?? ''),
    writing: (writing?.length ?? 0) > 0,
    devices: Number(devices?.toString()),
    counts: { count, digest, version },
  };
}

/**
 * Remembers earlier states of a shard: contents that changed without a new version, or went back, were not
 * changed by Pushpoint.
 */
export class ShardMemory {
  #seen: { generation: string; counts: Counts } | null = null;

  /** Why the shard does not hold what was written to it; `null` when it does. */
  compare({ mark, devices, counts }: ShardLook): string | null {
    if (mark === null) return null;
    if (devices !== counts.count) return `${devices} devices are there, and ${counts.count} were written`;
    const seen = this.#seen;
    if (seen?.generation === mark.generation) {
      if (counts.version < seen.counts.version) return 'an earlier state of it is there';
      if (counts.version === seen.counts.version && counts.digest !== seen.counts.digest) {
        return 'its digest changed although nothing was written';
      }
    }
    this.#seen = { generation: mark.generation, counts };
    return null;
  }
}

/** Why a shard with this mark must not be read; `null` when it belongs to `own`. */
export function whyNotOwn(mark: Mark | null, own: Installation | null): string | null {
  if (own === null) return 'it is not known yet which installation this Redis serves';
  if (mark === null) return 'the directory was not written yet, or is lost';
  if (mark.installation === own.id) return null;
  return `the directory belongs to installation ${mark.installation}, but this program to ${own.id}`;
}
