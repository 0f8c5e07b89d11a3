/** Requests to a gateway that say that a body follows, of all kinds. */

const UPGRADE =
  'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: pushpoint.v1\r\n';

/** Header lines, and what follows the head. */
export const BODIES: readonly (readonly [headers: string, body: string])[] = [
  ['Content-Length: x', ''],
  ['Content-Length: 99999999999999999999', ''],
  ['Content-Length: -1', ''],
  ['Content-Length: 5', ''],
  ['Content-Length: 5', 'he'],
  ['Content-Length: 5', 'hello'],
  ['content-LENGTH: 0\r\nContent-Length: 5', ''],
  ['Transfer-Encoding: chunked', ''],
  ['Transfer-Encoding: chunked', 'zz\r\n'],
  ['Transfer-Encoding: chunked', '5\r\nhello\r\n0\r\n\r\n'],
  ['Transfer-Encoding: gzip', 'xyz'],
  ['Transfer-Encoding: chunked\r\nContent-Length: 5', 'hello'],
];

/** What counts as no body. */
export const EMPTY: (typeof BODIES)[number] = ['Content-Length: 0', ''];

/** The requests that a gateway knows, without what says that a body follows. */
export const KINDS = [
  { name: 'a probe', line: 'GET /probe', headers: '' },
  { name: 'a probe by POST', line: 'POST /probe', headers: '' },
  { name: 'an upgrade', line: 'GET /', headers: UPGRADE },
  { name: 'the upgrade of a leg', line: 'GET /tunnel', headers: UPGRADE },
  { name: 'any other request', line: 'GET /', headers: '' },
] as const;

export function bodyRequests(kinds: readonly (typeof KINDS)[number][], bodies = BODIES): string[] {
  return kinds.flatMap(({ line, headers: more }) =>
    bodies.map(([headers, body]) => `${line} HTTP/1.1\r\nHost: x\r\n${more}${headers}\r\n\r\n${body}`),
  );
}
