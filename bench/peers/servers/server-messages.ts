/** Messages between the bench and a peer that is one of our Node.js programs. */
export type ServerRequest = { publish: string };
export type ServerAnswer = { listening: number } | { published: true };

/**
 * Connects a server to the bench that started it: reports its port, publishes on request, ends with the
 * bench.
 */
export function serve(port: number, publish: (payload: string) => void): void {
  const answer = (message: ServerAnswer) => process.send?.(message);
  process.on('message', ({ publish: payload }: ServerRequest) => {
    publish(payload);
    answer({ published: true });
  });
  process.on('disconnect', () => process.exit());
  answer({ listening: port });
}
