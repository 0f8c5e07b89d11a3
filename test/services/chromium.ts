/** A real browser without a window: tabs are opened and closed over its DevTools HTTP interface. */
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { waitFor } from '../wait.ts';
import { findPrograms, installPackage } from './install.ts';
import { Program } from './processes.ts';

export interface Chromium {
  /** Resolves with the tab's id. */
  open(url: string): Promise<string>;
  close(tab: string): Promise<void>;
  /** Value of an expression in the page, which its content security policy does not touch. */
  evaluate(tab: string, expression: string): Promise<unknown>;
  /** What the browser wrote, for the message of a test that fails. */
  readonly output: string;
  stop(): Promise<void>;
}

/** Where chromium is; installs it where it is missing and this process may. */
async function ensureChromium(): Promise<string> {
  const names = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'] as const;
  const find = async () => {
    for (const name of names) {
      const found = await findPrograms([name], ['/usr/bin', '/usr/local/bin']);
      if (found) return found[name];
    }
    return undefined;
  };
  const found = await find();
  if (found !== undefined) return found;
  await installPackage('chromium', 'brew install chromium (macOS)');
  const installed = await find();
  if (installed === undefined) throw new Error('chromium was installed, but is not where it is looked for');
  return installed;
}

export async function startChromium(): Promise<Chromium> {
  const path = await ensureChromium();
  const folder = await mkdtemp(join(tmpdir(), 'chromium-'));
  const program = new Program(
    path,
    [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
      ...['--remote-debugging-port=0', `--user-data-dir=${folder}`, 'about:blank'],
    ],
    {},
  );
  const port = await portOf(folder, program).catch(async (error) => {
    await program.stop();
    throw new Error(`chromium did not start:\n${program.output}`, { cause: error });
  });
  const ask = async (path: string, method = 'GET') => {
    const response = await fetch(`http://127.0.0.1:${port}/json/${path}`, { method });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
    return text;
  };
  return {
    open: async (url) =>
      (JSON.parse(await ask(`new?${encodeURIComponent(url)}`, 'PUT')) as { id: string }).id,
    close: async (tab) => {
      await ask(`close/${tab}`);
    },
    evaluate: (tab, expression) => evaluate(`ws://127.0.0.1:${port}/devtools/page/${tab}`, expression),
    get output() {
      return program.output;
    },
    stop: async () => {
      await program.stop();
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

async function evaluate(url: string, expression: string): Promise<unknown> {
  const socket = new WebSocket(url);
  await once(socket, 'open');
  const params = { expression, awaitPromise: true, returnByValue: true };
  socket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params }));
  try {
    const [answer] = await once(socket, 'message');
    const { result, exceptionDetails } = JSON.parse(String(answer)).result;
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  } finally {
    socket.close();
  }
}

/** The browser writes it once it listens. */
async function portOf(folder: string, program: Program): Promise<number> {
  let port = 0;
  await waitFor(
    async () => {
      if (!program.running) throw new Error('it ended');
      const text = await readFile(join(folder, 'DevToolsActivePort'), 'utf8').catch(() => '');
      port = Number(text.split('\n')[0]);
      return port > 0;
    },
    { timeoutMs: 30_000, what: 'chromium to listen' },
  );
  return port;
}
