/**
 * `pushpoint tunnel --stdio`: one stream between standard input and output, for ProxyCommand and its like.
 */
import { joinStreams } from '../../device/tunnels/tcp-node.ts';
import type { StreamReset } from '../../tunnel/index.ts';
import type { ByteStreams } from '../shell.ts';
import type { OperatorTunnel } from './operator-tunnel.ts';

/** Resolves when both directions have ended; with the reset if they did not end in order. */
export function joinStdio(
  tunnel: OperatorTunnel,
  { input, output }: ByteStreams,
): Promise<StreamReset | undefined> {
  return new Promise((resolve) => {
    tunnel.stream((stream) => {
      const handlers = joinStreams(stream, input, output);
      return {
        ...handlers,
        closed: (reset) => {
          handlers.closed(reset);
          input.destroy();
          if (reset || output.writableFinished) resolve(reset);
          else output.once('close', () => resolve(undefined));
        },
      };
    });
  });
}
