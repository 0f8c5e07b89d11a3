/**
 * A web page that is a device, of an origin of its own; it does as its address says and reports over HTTP.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SERVED = /^\/dist\/(device|protocol|tunnel)\//;
const TYPES: Record<string, string> = { '.js': 'text/javascript', '.mjs': 'text/javascript' };

export interface Report {
  tab: string;
  what: string;
  detail?: string;
}

const PAGE = `<!doctype html><meta charset="utf-8"><title>device</title>
<script type="importmap">{ "imports": {
  "#msgpack": "/dist/protocol/msgpack-web.js"
} }</script>
<script type="module">
const asked = new URLSearchParams(location.search);
const report = (what, detail) => fetch('/report', {
  method: 'POST',
  body: JSON.stringify({ tab: asked.get('tab'), what, detail: detail === undefined ? '' : String(detail) }),
});
addEventListener('error', ({ message }) => report('error', message));
addEventListener('unhandledrejection', ({ reason }) => report('error', reason));
try {
  const { WebStore, PushpointDevice, enroll } = await import('/dist/device/index.browser.js');
  const store = await WebStore.open('kiosk', { wait: asked.has('wait') });
  report('open');
  await enroll({ server: asked.get('server'), token: asked.get('token'), store, name: asked.get('tab') });
  const device = new PushpointDevice({ store });
  device.on('connected', () => report('connected', device.deviceId));
  device.on('disconnected', ({ code, reason }) => report('disconnected', code + ' ' + reason));
  device.on('fault', (error) => report('fault', error));
  device.handle('sync', () => ({ revision: asked.get('tab') }));
  await device.start();
} catch (error) {
  report('refused', error);
}
</script>`;

export async function servePage() {
  const reports: Report[] = [];
  const http = createServer((request, response) => {
    void answer(request, response, reports).catch((error) => {
      response.statusCode = 500;
      response.end(String(error));
    });
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address() as AddressInfo;
  return {
    port,
    reports,
    /** What a tab said, in order. */
    of: (tab: string) => reports.filter((report) => report.tab === tab).map(({ what }) => what),
    stop: async () => {
      http.closeAllConnections();
      http.close();
      await once(http, 'close');
    },
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, reports: Report[]): Promise<void> {
  const path = normalize(new URL(request.url ?? '/', 'http://page').pathname);
  if (path === '/report') {
    let text = '';
    for await (const chunk of request) text += chunk;
    reports.push(JSON.parse(text) as Report);
    response.end();
  } else if (path === '/') {
    response.setHeader('content-type', 'text/html');
    response.end(PAGE);
  } else if (SERVED.test(path)) {
    response.setHeader('content-type', TYPES[extname(path)] ?? 'text/plain');
    response.end(await readFile(join(ROOT, path)));
  } else {
    response.statusCode = 404;
    response.end();
  }
}
