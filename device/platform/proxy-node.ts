/**
 * The way through an HTTP proxy (CONNECT, RFC 9110, 9.3.6), for all that this side dials: `HTTP_PROXY`,
 * `HTTPS_PROXY` and `NO_PROXY`, also in lower case, as curl and Go read them. Names are left to the proxy to
 * look up.
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
 * The proxy for this URL, or `null`; never for this machine itself. Throws for a variable that names none.
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
 * `NO_PROXY`: `*`, names with their subdomains, addresses, ranges such as 10.0.0.0/8; each perhaps with a
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

/** Longest time for a proxy to lead somewhere, milliseconds. */
const CONNECT_MS = 10_000;

/**
 * A connection to the URL's host, plain TCP, through the proxy; settles within 10 s, and at once when
 * `signal` says so.
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
 * To be spread into the options of a request through `proxyAgent`. While the proxy is asked, the request has
 * no socket, and to destroy it then, by its own signal too, tells nobody: whoever may give it up says so to
 * the connection as well.
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
  /** Whether connections serve several requests, one after the other. */
  keepAlive?: boolean;
  env?: Environment;
}

/**
 * For requests of node:http and for `ws`; `undefined` where no proxy is meant. One agent serves one origin.
 */
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
      // node:http may take over the options of an earlier request, which is over.
      connect(connectSignal?.aborted ? undefined : connectSignal).then(
        (socket) => made(null, socket),
        (error) => made(error),
      );
    },
  });
}

/** `fetch`, and where a proxy is meant, a request through it with all that this program needs of `fetch`. */
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

/** Read as far as it is asked for; canceled, its connection is dropped. */
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
