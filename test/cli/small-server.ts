import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Shell } from '../../cli/shell.ts';

export type Handle = (
  request: IncomingMessage,
  response: ServerResponse,
  body: string,
) => void | Promise<void>;

export interface SmallServer {
  url: string;
  /** `METHOD /path?query`, in order. */
  asked: string[];
  stop(): Promise<void>;
}

/** A real HTTP server that answers as a test says. */
export async function smallServer(handle: Handle): Promise<SmallServer> {
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    asked.push(`${request.method} ${request.url}`);
    let body = '';
    for await (const chunk of request) body += String(chunk);
    await handle(request, response, body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function json(response: ServerResponse, status: number, value: unknown, headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(value));
}

export interface TestShell extends Shell {
  out: string;
  err: string;
  interrupt(): void;
}

/** A shell that is no terminal and remembers what was written. */
export function testShell(env: NodeJS.ProcessEnv = {}): TestShell {
  const listeners = new Set<(signal: string) => void>();
  const shell: TestShell = {
    env,
    out: '',
    err: '',
    stdout: { write: (text) => (shell.out += text) },
    stderr: { write: (text) => (shell.err += text) },
    announce(text) {
      shell.out += text;
    },
    onInterrupt(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    onHangup: () => () => {},
    interactive: false,
    confirm: async () => undefined,
    readInput: async () => '',
    bytes() {
      throw new Error('no bytes here');
    },
    interrupt() {
      for (const listener of listeners) listener('SIGINT');
    },
  };
  return shell;
}

/** A command as the API shows it. */
export function commandView(over: Record<string, unknown> = {}, counts: Record<string, number> = {}) {
  return {
    id: 'c1',
    type: 'sync',
    args: {},
    secret: false,
    target: { group: 'all' },
    offline: 'queue',
    collapseKey: 'sync',
    issuedAt: '2026-01-01T00:00:00.000Z',
    expiresAt: '2026-01-08T00:00:00.000Z',
    timeout: 900,
    createdBy: 't1',
    expanded: true,
    cancelRequestedAt: null,
    finishedAt: null,
    counts: { total: 2, ...counts },
    ...over,
  };
}
