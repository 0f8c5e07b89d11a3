import type { NetworkWatch } from './network-watch.ts';

interface EventTargetLike {
  addEventListener(type: 'online', listener: () => void): void;
  removeEventListener(type: 'online', listener: () => void): void;
}

/** A page or worker is told when the browser has a network again. */
export const watchOnline: NetworkWatch = (changed) => {
  const target = globalThis as Partial<EventTargetLike>;
  target.addEventListener?.('online', changed);
  return () => target.removeEventListener?.('online', changed);
};
