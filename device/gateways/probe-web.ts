import type { Probe } from './probe.ts';
import { checkProbeAnswer, probeUrl } from './probe-request.ts';

/** Probes with the platform's `fetch`, which keeps the connection by itself. */
export const webProbe: Probe = async (gateway, { count, timeoutMs, signal }) => {
  const times: number[] = [];
  while (times.length < count) {
    const began = performance.now();
    const within = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const { status, headers } = await fetch(probeUrl(gateway), {
      credentials: 'omit',
      redirect: 'error',
      signal: within,
    });
    times.push(performance.now() - began);
    checkProbeAnswer(gateway, status, headers.get('pushpoint-gateway'));
  }
  return times;
};
