/** The HTTP answers of a gateway: to probes, to requests without an upgrade, and refusals (C-5, G-5). */
import { SUBPROTOCOL } from '../../protocol/index.ts';
import type { Refusal } from '../refusal.ts';

/** The used part of uWebSockets.js' response. */
export interface HttpAnswer {
  cork(write: () => void): unknown;
  writeStatus(status: string): HttpAnswer;
  writeHeader(name: string, value: string): HttpAnswer;
  end(body: string, closeConnection: boolean): unknown;
  endWithoutBody(): unknown;
  close(): unknown;
}

interface HttpHeaders {
  getHeader(lowerCaseName: string): string;
  forEach(each: (lowerCaseName: string) => void): void;
}

/** `empty`: `Content-Length: 0`, as some health checks and clients say. `some`: a length, or an encoding. */
export type Body = 'none' | 'empty' | 'some';

/**
 * What a request says of its body. No route takes one, and the sender of one could not be identified
 * (`accepted-sockets.ts`): the socket is to be closed.
 */
export function bodyOf(req: HttpHeaders): Body {
  const length = req.getHeader('content-length');
  if (req.getHeader('transfer-encoding') !== '') return 'some';
  if (length === '') return 'none';
  let lengths = 0;
  req.forEach((name) => {
    if (name === 'content-length') lengths++;
  });
  return length === '0' && lengths === 1 ? 'empty' : 'some';
}

export function answerProbe(res: HttpAnswer, gateway: string): void {
  res.cork(() => {
    writeForBrowsers(res.writeStatus('204 No Content'))
      .writeHeader('Pushpoint-Gateway', gateway)
      .endWithoutBody();
  });
}

export function tellToUpgrade(res: HttpAnswer): void {
  res.cork(() => {
    res
      .writeStatus('426 Upgrade Required')
      .writeHeader('Content-Type', 'text/plain; charset=utf-8')
      .end(`This is a Pushpoint gateway: connect a WebSocket to / with subprotocol ${SUBPROTOCOL}.\n`, true);
  });
}

/** Web pages of any origin may read the answer, and caches must not store it. */
function writeForBrowsers(res: HttpAnswer): HttpAnswer {
  return res
    .writeHeader('Cache-Control', 'no-store')
    .writeHeader('Access-Control-Allow-Origin', '*')
    .writeHeader('Access-Control-Expose-Headers', 'Pushpoint-Gateway, Pushpoint-Gateways, Retry-After');
}

export function refuse(
  res: HttpAnswer,
  status: string,
  reason: string,
  { retryAfterSeconds, gateways }: Partial<Refusal> = {},
): void {
  res.cork(() => {
    writeForBrowsers(res.writeStatus(status)).writeHeader('Content-Type', 'text/plain; charset=utf-8');
    if (retryAfterSeconds !== undefined) res.writeHeader('Retry-After', String(retryAfterSeconds));
    if (gateways) res.writeHeader('Pushpoint-Gateways', gateways);
    res.end(`${reason}\n`, true);
  });
}

/** Whether the comma list of a Sec-WebSocket-Protocol header names `protocol` (RFC 6455, 4.1). */
export function offers(header: string, protocol: string): boolean {
  return header.split(',').some((item) => item.trim() === protocol);
}
