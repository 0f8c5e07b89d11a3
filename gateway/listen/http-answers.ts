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
}

/**
 * Closes a socket whose request announces a body. No route takes one, and its sender could not be identified
 * (`accepted-sockets.ts`). This includes length 0: for a request in pieces, uWebSockets.js then calls no data
 * handler.
 */
export function closedForBody(res: HttpAnswer, req: HttpHeaders): boolean {
  if (req.getHeader('content-length') === '' && req.getHeader('transfer-encoding') === '') return false;
  res.close();
  return true;
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
