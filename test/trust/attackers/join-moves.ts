/** What an attacker can ask and answer where gateways ask to join. */
import { createPrivateKey, sign } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import {
  importAuthority,
  issueCertificate,
  makeAuthority,
  newSerial,
  readRequest,
} from '../../../admin-api/pki/issued-certificates.ts';
import {
  decodeJoinAnswer,
  decodeJoinRequest,
  decodeSignedAnswer,
  decodeSignedRequest,
  encodeJoinAnswer,
  encodeJoinRequest,
  encodeSignedAnswer,
  encodeSignedRequest,
  joinBytes,
  joinedBytes,
  joinedInfo,
  joinId,
} from '../../../bus/join-messages.ts';
import type { Keys } from '../../../bus/redis/keys.ts';
import { serverOf } from '../../../bus/subjects.ts';
import type { GatewayIdentity } from '../../../gateway/joining/identity.ts';
import { joinByToken, renew } from '../../../gateway/joining/join-request.ts';
import { sealTo } from '../../../protocol/hpke.ts';
import { nodeHpke } from '../../../protocol/hpke-node.ts';
import { pkcs8 } from '../../../protocol/index.ts';
import { newKeyPair, signedKeys } from '../../server-keys.ts';
import { readToken } from '../joining.ts';

/** `dropped`: the server took the request away without an answer. */
export type JoinOutcome = 'joined' | 'refused' | 'dropped';

/** A request as it stood in Redis. */
export interface LeftRequest {
  id: string;
  request: Uint8Array;
}

const LOOK_MS = 20;
const GIVE_UP_MS = 30_000;
const YEAR_MS = 31_536_000_000;

export class JoinMoves {
  readonly #redis: Redis;
  readonly #keys: Keys;

  constructor(redis: Redis, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** `gateway`: its name, or `serverSubject` of a server's. */
  async byToken(gateway: string, text: string): Promise<JoinOutcome> {
    return this.ask(await joinByToken(gateway, readToken(text), Date.now()));
  }

  /** Under another name as well. */
  async renewal(identity: GatewayIdentity, gateway = identity.gateway): Promise<JoinOutcome> {
    return this.ask(await renew({ ...identity, gateway }, Date.now()));
  }

  /** Has the key of this request certified again, and what is secret in the answer sealed to itself. */
  async resealed({ request }: LeftRequest, text: string): Promise<JoinOutcome> {
    const { seed } = readToken(text);
    const { publicKey: sealTo } = await nodeHpke.generateX25519();
    const body = encodeJoinRequest({ ...decodeJoinRequest(decodeSignedRequest(request).body), sealTo });
    const der = Buffer.from(pkcs8('Ed25519', seed));
    const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    const proof = new Uint8Array(sign(null, joinBytes(body), key));
    return this.ask({ id: joinId(body), request: encodeSignedRequest({ body, proof }) });
  }

  async ask({ id, request }: LeftRequest): Promise<JoinOutcome> {
    const { joins, joinTimes, joinAnswer } = this.#keys;
    await this.#redis.del(joinAnswer(id));
    await this.#redis.hset(joins, id, Buffer.from(request));
    await this.#redis.zadd(joinTimes, Date.now(), id);
    return this.#until(async () => {
      // In this order: the server answers first, and then takes the request away.
      const isGone = (await this.#redis.hexists(joins, id)) === 0;
      const answer = await this.#redis.getBuffer(joinAnswer(id));
      if (answer) return decodeJoinAnswer(decodeSignedAnswer(answer).body).kind;
      return isGone ? 'dropped' : null;
    });
  }

  /** The first request that somebody leaves. */
  left(): Promise<LeftRequest> {
    const { joins } = this.#keys;
    return this.#until(async () => {
      const [id, request] = Object.entries(await this.#redis.hgetallBuffer(joins))[0] ?? [];
      return id === undefined || !request ? null : { id, request };
    });
  }

  /** Takes the first request that somebody leaves, and answers it as an installation of its own. */
  async answer(): Promise<void> {
    const { id, request } = await this.left();
    await this.#redis.set(this.#keys.joinAnswer(id), Buffer.from(await forgedAnswer(request)));
    await this.#redis.hdel(this.#keys.joins, id);
  }

  async #until<T>(look: () => Promise<T | null>): Promise<T> {
    for (const from = performance.now(); performance.now() - from < GIVE_UP_MS; ) {
      const found = await look();
      if (found !== null) return found;
      await pause(LOOK_MS);
    }
    throw new Error('nothing came of a request to join');
  }
}

async function forgedAnswer(left: Uint8Array): Promise<Uint8Array> {
  const { body } = decodeSignedRequest(left);
  const { gateway, csr, sealTo: publicKey } = decodeJoinRequest(body);
  const certified = await readRequest(csr, gateway);
  if (!certified) throw new Error('no certification request');
  const [createdAt, expiresAt] = [Date.now(), Date.now() + YEAR_MS];
  const { certificate: authority, pkcs8 } = await makeAuthority({ name: 'attacker', createdAt, expiresAt });
  const times = { issuedAt: createdAt, expiresAt };
  const subject = { serial: newSerial(createdAt), gateway, publicKey: certified.publicKey, ...times };
  const certificate = await issueCertificate(await importAuthority(authority, pkcs8), subject);
  const message = new Uint8Array(serverOf(gateway) === null ? 32 : 64);
  const sealed = await sealTo({ platform: nodeHpke, publicKey, info: joinedInfo(body), message });
  const [root, signing] = [newKeyPair(), newKeyPair()];
  const answer = encodeJoinAnswer({
    ...{ kind: 'joined', gateway, serial: subject.serial, certificate, authorities: [authority] },
    ...{ trusts: '1', ...times, sealed, installation: { id: 'i-attacker', epoch: 1, seal: '' } },
  });
  return encodeSignedAnswer({
    keys: [signedKeys(root, [1, 1], [signing.publicKey])],
    body: answer,
    sig: new Uint8Array(sign(null, joinedBytes(body, answer), signing.privateKey)),
  });
}
