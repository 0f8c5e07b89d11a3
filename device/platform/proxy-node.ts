/**
 * Connections through an HTTP proxy (CONNECT, RFC 9110, 9.3.6), for everything that this side dials:
 * `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, also in lower case, as curl and Go read them. The proxy
 * resolves names.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { BlockList, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Fetch } from './api-request.ts';

type Environment = Readonly<Record<string, string | undefined>>;
type Authorities = string | Buffer | (string | Buffer)[] | undefined;

const LOOPBACK = /^(localhost|127\.[0-9.]+|::1)$/i;

const bare = (host: string): string => host.replace(/^\[|\]$/g, '');
const isSecure = ({ protocol }: URL): boolean => protocol === 'https:' || protocol === 'wss:';
const portOf = (url: URL): number => Number(url.port) || (isSecure(url) ? 443 : 80);

/**
 * The proxy for this URL, or `null`; never for this machine itself. Throws if the variable does not name a
 * proxy.
 */
export function proxyFor(url: URL, env: Environment = process.env): URL | null {
  const name = isSecure(url) ? 'https_proxy' : 'http_proxy';
  const text = env[name] || env[name.toUpperCase()];
  const host = bare(url.hostname);
  if (!text || LOOPBACK.test(host)) return null;
  if (excluded(host, portOf(url), env.no_proxy || env.NO_PROXY || '')) return null;
  const full = text.includes('://') ? text : `http://${text}`;
  if (!URL.canParse(full) || !/^https?:\/\/[^/]/.test(full)) {
    // Not repeated: it may hold a password.
    throw new Error(`${name.toUpperCase()} does not name a proxy such as http://user:password@proxy:3128`);
  }
  return new URL(full);
}

/**
 * `NO_PROXY`: `*`, names with their subdomains, addresses, ranges such as 10.0.0.0/8; each with an optional
 * port.
 */
function excluded(host: string, port: number, list: string): boolean {
  return list.split(/[\s,]+/).some((entry) => {
    if (entry === '*') return true;
    const [, name = '', onPort] = /^(.*?)(?::(\d+))?$/.exec(isIP(entry) ? `[${entry}]` : entry) ?? [];
    const wanted = bare(name)
      .replace(/^\*?\./, '')
      .toLowerCase();
    if (wanted === '' || (onPort !== undefined && Number(onPort) !== port)) return false;
    if (wanted.includes('/')) return inRange(host, wanted);
    return host.toLowerCase() === wanted || (!isIP(host) && host.toLowerCase().endsWith(`.${wanted}`));
  });
}

function inRange(host: string, range: string): boolean {
  const [net = '', bits = ''] = range.split('/');
  const family = isIP(net);
  if (family === 0 || isIP(host) !== family || !/^\d{1,3}$/.test(bits)) return false;
  if (Number(bits) > (family === 4 ? 32 : 128)) return false;
  const ranges = new BlockList();
  const name = family === 4 ? 'ipv4' : 'ipv6';
  ranges.addSubnet(net, Number(bits), name);
  return ranges.check(host, name);
}

/** Time limit for a connection through a proxy, milliseconds. */
const CONNECT_MS = 10_000;

/**
 * A plain TCP connection to the URL's host through the proxy; settles within 10 s, and at once when `signal`
 * aborts.
 */
export function connectThrough(proxy: URL, url: URL, signal?: AbortSignal): Promise<Socket> {
  const target = `${url.hostname}:${portOf(url)}`;
  const { username, password } = proxy;
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const send = isSecure(proxy) ? httpsRequest : httpRequest;
  const request = send({
    host: bare(proxy.hostname),
    port: portOf(proxy),
    method: 'CONNECT',
    path: target,
    agent: false,
    headers: {
      host: target,
      ...(username === '' && password === ''
        ? {}
        : { 'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}` }),
    },
  });
  return new Promise((resolve, reject) => {
    const giveUp = (why: string) => request.destroy(new Error(why));
    const stopped = () => giveUp('no longer wanted');
    const timer = setTimeout(() => giveUp('no answer to CONNECT in time'), CONNECT_MS);
    const settled = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stopped);
    };
    request.once('close', settled);
    request.on('error', (error) => {
      settled();
      reject(new Error(`proxy ${proxy.host}: ${error.message}`, { cause: error }));
    });
    request.once('connect', ({ statusCode }, socket: Socket, head) => {
      settled();
      if (statusCode === 200) {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(new Error(`proxy ${proxy.host} answers ${statusCode} to CONNECT ${target}`));
    });
    if (signal?.aborted) stopped();
    else signal?.addEventListener('abort', stopped, { once: true });
    request.end();
  });
}

/**
 * Spread it into the options of a request through `proxyAgent`. While the proxy connects, the request has no
 * socket, so destroying it has no effect on the connection: pass the signal to the connection as well.
 */
export function connectUntil(signal: AbortSignal): { connectSignal: AbortSignal } {
  return { connectSignal: signal };
}

/** TLS with the URL's host over such a connection. */
export function secured(socket: Socket, url: URL, ca: Authorities): Socket {
  const host = bare(url.hostname);
  return connectTls({ socket, host, ...(isIP(host) ? {} : { servername: host }), ...(ca ? { ca } : {}) });
}

export interface ProxyAgentOptions {
  ca?: Authorities;
  /** Whether connections are reused for several requests. */
  keepAlive?: boolean;
  env?: Environment;
}

/** For requests of node:http and for `ws`; `undefined` without a proxy. One agent serves one origin. */
export function proxyAgent(
  url: URL,
  { ca, keepAlive = false, env = process.env }: ProxyAgentOptions = {},
): HttpAgent | undefined {
  let proxy: URL | null;
  let fault: unknown;
  try {
    proxy = proxyFor(url, env);
    if (proxy === null) return undefined;
  } catch (error) {
    fault = error;
  }
  const connect = async (signal?: AbortSignal): Promise<Socket> => {
    if (fault) throw fault;
    const socket = await connectThrough(proxy as URL, url, signal);
    return isSecure(url) ? secured(socket, url, ca) : socket;
  };
  const settings = keepAlive ? { keepAlive, maxSockets: 8 } : {};
  const agent = isSecure(url) ? new HttpsAgent(settings) : new HttpAgent(settings);
  return Object.assign(agent, {
    createConnection: (
      { connectSignal }: Partial<ReturnType<typeof connectUntil>>,
      made: (error: unknown, socket?: Socket) => void,
    ) => {
      // node:http may reuse the options of an earlier request, which is over.
      connect(connectSignal?.aborted ? undefined : connectSignal).then(
        (socket) => made(null, socket),
        (error) => made(error),
      );
    },
  });
}

/** `fetch`, or with a proxy, a request through it that supports what this program needs of `fetch`. */
export function proxyFetch(env: Environment = process.env): Fetch {
  const agents = new Map<string, HttpAgent | undefined>();
  return (url, init) => {
    if (!agents.has(url.origin)) agents.set(url.origin, proxyAgent(url, { keepAlive: true, env }));
    const agent = agents.get(url.origin);
    return agent ? request(url, init, agent) : fetch(url, init);
  };
}

async function request(url: URL, init: RequestInit, agent: HttpAgent): Promise<Response> {
  const { method = 'GET', body, signal } = init;
  signal?.throwIfAborted();
  const headers = Object.fromEntries(new Headers(init.headers));
  const send = isSecure(url) ? httpsRequest : httpRequest;
  const options = { agent, method, headers, ...(signal ? { signal, ...connectUntil(signal) } : {}) };
  return new Promise((resolve, reject) => {
    const sent = send(url, options, (response) => {
      const status = response.statusCode ?? 0;
      if (status >= 300 && status < 400) {
        response.destroy();
        reject(new TypeError(`the answer is a redirect (HTTP ${status})`));
        return;
      }
      const pairs = Object.entries(response.headersDistinct).flatMap(([name, values = []]) =>
        values.map((value): [string, string] => [name, value]),
      );
      const empty = status === 204 || status === 304;
      if (empty) response.resume();
      resolve(new Response(empty ? null : bodyOf(response, signal), { status, headers: pairs }));
    });
    sent.on('error', (error) => reject(signal?.aborted ? signal.reason : error));
    sent.end(body);
  });
}

/** Reads only as much as requested; cancelling drops the connection. */
function bodyOf(response: IncomingMessage, signal?: AbortSignal | null): ReadableStream<Uint8Array> {
  const chunks: AsyncIterator<Buffer> = response[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>(
    {
      async pull(body) {
        try {
          const { done, value } = await chunks.next();
          if (done) body.close();
          else body.enqueue(value);
        } catch (error) {
          body.error(signal?.aborted ? signal.reason : error);
        }
      },
      cancel() {
        response.destroy();
      },
    },
    { highWaterMark: 0 },
  );
}
