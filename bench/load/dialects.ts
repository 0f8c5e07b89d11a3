import type { DialectFactory } from './dialect.ts';

/** Protocols that devices of a swarm can speak; a process loads only its own. */
export const DIALECTS = {
  pushpoint: () => import('./dialects/pushpoint.ts'),
  plain: () => import('./dialects/plain.ts'),
  'engine-io': () => import('./dialects/engine-io.ts'),
  mqtt: () => import('./dialects/mqtt.ts'),
  nats: () => import('./dialects/nats.ts'),
} satisfies Record<string, () => Promise<{ default: DialectFactory }>>;

export type DialectName = keyof typeof DIALECTS;
