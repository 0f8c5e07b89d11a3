/** Between the bench and a peer that is a Node.js program of ours. */
export type ServerRequest = { publish: string };
export type ServerAnswer = { listening: number } | { published: true };

/**
 * Wires a server to the bench that started it: tells its port, publishes when told, and ends with the bench.
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
