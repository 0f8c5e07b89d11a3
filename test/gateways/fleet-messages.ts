/** What the harness and its fleet processes say to each other. */
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
  | { do: 'start'; ids: string[]; options: StartOptions }
  | { do: 'stop'; ids: string[] }
  /** Answered with `Runs[]`. */
  | { do: 'runs' };

/** What one device did with one command, by its own list. */
export interface Runs {
  device: string;
  command: string;
  started: number;
  completed: number;
}

/** `at`: milliseconds since the Unix epoch. */
export type News =
  | { device: string; at: number; connected: GatewayAddress }
  | { device: string; at: number; ended: number; reason: string };

export type ToFleet = { id: number; order: Order };
export type FromFleet = { id: number; value?: unknown; error?: string } | { news: News[] };
