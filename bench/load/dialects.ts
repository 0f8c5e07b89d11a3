import type { DialectFactory } from './dialect.ts';

/** What devices of a swarm may speak; a process loads its own only. */
export const DIALECTS = {
  pushpoint: () => import('./dialects/pushpoint.ts'),
  plain: () => import('./dialects/plain.ts'),
} satisfies Record<string, () => Promise<{ default: DialectFactory }>>;

export type DialectName = keyof typeof DIALECTS;
