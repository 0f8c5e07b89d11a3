import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { connectUntil, proxyAgent } from '../platform/proxy-node.ts';
import type { Probe } from './probe.ts';
import { checkProbeAnswer, probeUrl } from './probe-request.ts';

export interface HttpProbeOptions {
  /** Certificate authorities to trust instead of the system's, PEM. */
  ca?: string | Buffer | (string | Buffer)[];
}

/** Probes with node:http, over one connection, so that all but the first request measure the way alone. */
export function httpProbe({ ca }: HttpProbeOptions = {}): Probe {
  return async (gateway, { count, timeoutMs, signal }) => {
    const url = probeUrl(gateway);
    const secure = url.protocol === 'https:';
    const request = secure ? httpsRequest : httpRequest;
    const keep = { keepAlive: true, maxSockets: 1 };
    const through = proxyAgent(url, { ca, keepAlive: true });
    const agent = through
      ? through
      : secure
        ? new HttpsAgent({ ...keep, ...(ca ? { ca } : {}) })
        : new HttpAgent(keep);
    const once = () =>
      new Promise<number>((resolve, reject) => {
        const began = performance.now();
        signal.throwIfAborted();
        const within = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
        const options = { agent, signal: within, ...connectUntil(within) };
        const sent = request(url, options, (response) => {
          const ms = performance.now() - began;
          response.resume();
          response.on('error', reject);
          response.on('end', () => {
            try {
              checkProbeAnswer(gateway, response.statusCode, response.headers['pushpoint-gateway']);
              resolve(ms);
            } catch (error) {
              reject(error);
            }
          });
        });
        sent.on('error', reject);
        sent.end();
      });
    try {
      const times: number[] = [];
      while (times.length < count) times.push(await once());
      return times;
    } finally {
      agent.destroy();
    }
  };
}
