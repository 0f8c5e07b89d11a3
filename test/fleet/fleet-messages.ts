/** What a test and its fleet processes say to each other. */
import type { GatewayAddress } from '../../protocol/index.ts';

export interface StartOptions {
  /** Whether it measures how far gateways are before it dials (G-10). */
  probing: boolean;
  /** The gateway it dials first, as if it had been there before. */
  home?: GatewayAddress;
}

export type Order =
  /** Answered with the devices' ids. */
  | { do: 'enrol'; server: string; token: string; names: string[] }
  /** Takes devices over that a process before this one had, from what it kept on disk. */
  | { do: 'resume'; devices: { id: string; name: string }[] }
  | { do: 'start'; ids: string[]; options: StartOptions }
  | { do: 'stop'; ids: string[] }
  /** As a power cut: without a word, and what runs is cut short. */
  | { do: 'crash'; ids: string[] }
  /** Starts a second copy of each, with the same identity and a memory of its own. */
  | { do: 'copy'; ids: string[] }
  /** Resolves when no copy and no original of a copy has an unsettled execution; ends the copies. */
  | { do: 'end copies'; ids: string[] }
  /** Resolves when none of them has an unsettled execution. */
  | { do: 'settle'; ids: string[] }
  /** Answered with `Runs[]`. */
  | { do: 'runs' };

/** What one device did with one command, by its own list. */
export interface Runs {
  device: string;
  command: string;
  /** 0; 1 for the copy of a device. */
  place: number;
  started: number;
  /** Came to their end. */
  completed: number;
  /** Were under way when the device died. */
  cutShort: number;
  /**
   * When a gateway had its success, by `trueTime`; at most a heartbeat later than it had. `null`: not known
   * that one had.
   */
  heardAt: number | null;
  /** When it was begun first, by `trueTime`. */
  begunAt: number;
  /** Grows from one command to the next that this device began for the first time. */
  order: number;
}

/** `at`: milliseconds since the Unix epoch. */
export type News =
  | { device: string; at: number; connected: GatewayAddress }
  | { device: string; at: number; ended: number; reason: string };

export type ToFleet = { id: number; order: Order };
export type FromFleet = { id: number; value?: unknown; error?: string } | { news: News[] };
