/** Gateways and servers that join as real ones do, and never run: their files are what an attacker steals. */
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import pino from 'pino';
import type { Joins } from '../../bus/bus.ts';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import type { JoinTokenView } from '../../cli/api/views.ts';
import type { GatewayIdentity } from '../../gateway/joining/identity.ts';
import { IdentityFiles } from '../../gateway/joining/identity-files.ts';
import { Joiner } from '../../gateway/joining/joiner.ts';
import { parseToken, type TokenKind } from '../../protocol/index.ts';
import type { Lab } from '../e2e/lab.ts';

const log = pino({ level: 'silent' });

/** An operator's token with which this gateway may join; `ttl` in seconds. */
export async function joinToken(lab: Lab, gateway: string, ttl?: number): Promise<string> {
  const body = { gateway, ...(ttl !== undefined && { ttl }) };
  const made = await lab.operator.api.request<JoinTokenView & { token: string }>('POST', '/v1/join-tokens', {
    body,
  });
  return made.token;
}

/** The same for an administration server. */
export async function serverToken(lab: Lab, server: string): Promise<string> {
  const path = '/v1/server-join-tokens';
  const made = await lab.operator.api.request<{ token: string }>('POST', path, { body: { server } });
  return made.token;
}

/** A token as text, of whatever kind. */
export function readToken(text: string) {
  const token = parseToken(text.split('.')[0] as TokenKind, text);
  if (!token) throw new Error('no join token');
  return token;
}

export interface Joined {
  /** With the files that it is known by. */
  folder: string;
  identity: GatewayIdentity;
  /** That the answer brought to a server. */
  secretsKey: Uint8Array | null;
}

/**
 * `gateway`: its name, or `serverSubject` of a server's; `answered` is called for each answer that it finds.
 */
export async function joinGateway(
  lab: Lab,
  gateway: string,
  token: string,
  answered: () => void = () => {},
): Promise<Joined> {
  const folder = await mkdtemp(join(lab.deployment.folder, 'stolen-'));
  const bus = new RedisBus({ url: lab.deployment.redis.url });
  await bus.start();
  try {
    const joins: Joins = Object.create(bus.joins, {
      answerTo: {
        value: async (id: string) => {
          const answer = await bus.joins.answerTo(id);
          if (answer) answered();
          return answer;
        },
      },
      ask: { value: (id: string, request: Uint8Array) => bus.joins.ask(id, request) },
    });
    const parts = { joins, clock: bus.clock, owner: bus.owner };
    let secretsKey: Uint8Array | null = null;
    const keepKey = (key: Uint8Array) => {
      secretsKey = key;
    };
    const files = new IdentityFiles(folder);
    const joiner = new Joiner({ bus: parts, log, files, gateway, keepKey });
    const identity = await joiner.join({ token: readToken(token) });
    return { folder, identity, secretsKey };
  } finally {
    await bus.stop();
  }
}
