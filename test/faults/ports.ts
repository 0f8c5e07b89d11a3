import { createServer } from 'node:net';

/** Below what kernels give to outgoing connections, so that a program finds its port free when it is started again. */
const LOWEST = 20_000;
const HIGHEST = 32_000;

/** A TCP port of 127.0.0.1 that nobody listens on, and that nobody gets by accident. */
export async function lastingPort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if (await free(port)) return port;
  }
  throw new Error(`no free port from ${LOWEST} to ${HIGHEST}`);
}

function free(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
