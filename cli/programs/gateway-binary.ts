/**
 * The gateway's WebSocket server is native code: a binary for each version of Node.js, which needs a recent C
 * library. If it does not load, everything but gateways works, and a gateway says what is missing.
 */
import { CliError, EXIT } from '../exit-codes.ts';

/** The text before the loader's message when the module does not load. */
const NOT_LOADED = /This version of uWS\.js supports only/;

/** Imports what needs the binary. Throws `CliError` with a sentence when it cannot be loaded here. */
export async function withGatewayBinary<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    if (!NOT_LOADED.test((error as Error).message)) throw error;
    throw new CliError(EXIT.usage, sentence((error as Error).message), { cause: error });
  }
}

function sentence(loader: string): string {
  const { node } = process.versions;
  const needed = [...loader.matchAll(/GLIBC_(\d+\.\d+)' not found/g)].map((match) => match[1]).at(-1);
  const ours = libcVersion();
  const why =
    process.platform === 'linux' && ours === undefined
      ? 'it needs glibc, and this system has another C library (musl): use Debian 13, Ubuntu 24.04 or ' +
        'the like'
      : needed !== undefined
        ? `it needs glibc ${needed}, and this system has ${ours}: use Debian 13, Ubuntu 24.04 or later, ` +
          'or Node.js 20'
        : 'it has binaries for Node.js 20, 22, 24 and 25 on Linux, macOS and Windows: use one of these';
  return (
    `Cannot start: the gateway's WebSocket server (uWebSockets.js) does not load in Node.js ${node}. ` +
    `${why[0]?.toUpperCase()}${why.slice(1)}. ` +
    "`pushpoint admin`, `pushpoint agent` and the operators' commands work here as it is."
  );
}

function libcVersion(): string | undefined {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime;
}
