interface Startable {
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts what `prepare` makes, again on another port if somebody else takes the chosen one first. */
export async function startOnFreePort<T extends Startable>(prepare: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    const server = await prepare();
    try {
      await server.restart();
      return server;
    } catch (error) {
      await server.stop();
      if (attempt === 3) throw error;
    }
  }
}
