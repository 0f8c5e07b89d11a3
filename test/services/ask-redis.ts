import type { Redis } from 'ioredis';

/** Asks over a connection of its own, which is closed afterwards. */
export async function askRedis<T>(client: Redis, question: (client: Redis) => Promise<T>): Promise<T> {
  try {
    return await question(client);
  } finally {
    client.disconnect();
  }
}
