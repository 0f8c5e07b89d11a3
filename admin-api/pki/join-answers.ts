/**
 * Answers gateways and administration servers that ask to join or to renew their certificate. Several servers
 * may answer one request: the same key always gets the same serial number, and so the same MAC key.
 */
import { timingSafeEqual } from 'node:crypto';
import type { Logger } from 'pino';
import type { Bus, EpochMac, Installation } from '../../bus/bus.ts';
import {
  encodeJoinAnswer,
  encodeSignedAnswer,
  joinBytes,
  joinedInfo,
  joinMac,
} from '../../bus/join-messages.ts';
import { OneAtATime } from '../../bus/one-at-a-time.ts';
import { called, nameOf, serverOf } from '../../bus/subjects.ts';
import { sealTo } from '../../protocol/hpke.ts';
import { nodeHpke } from '../../protocol/hpke-node.ts';
import type { SignedServerKeys } from '../../protocol/index.ts';
import type { SecretBox } from '../at-rest/secret-box.ts';
import { holdsKey } from '../key-proof.ts';
import type { GatewayCertificate } from '../store/pki-records.ts';
import type { Store } from '../store/store.ts';
import type { CertificateAuthority, Issued } from './certificate-authority.ts';
import { revocationOf, revokeAll } from './forgotten-certificates.ts';
import { CERTIFICATE_LIFE_MS, timeOfSerial } from './issued-certificates.ts';
import { type HeldCertificate, type ReadJoin, readHeld, readJoin } from './join-requests.ts';

const LOOK_MS = 500;
/** Requests answered per round: a certificate costs about a millisecond. */
const ANSWERS_PER_LOOK = 20;
/** An older renewal is a replay by somebody else. */
const RENEWAL_VALID_MS = 600_000;
/**
 * Certificates of one gateway in an hour: more than the phases of a rotation need. Whoever has its key, or
 * can have it renew, fills no table.
 */
const ISSUED_PER_HOUR = 16;
const HOUR_MS = 3_600_000;
const PRUNE_EVERY_MS = 3_600_000;
/** How long expired certificates stay recorded. */
const KEEP_EXPIRED_MS = 90 * 86_400_000;

export interface JoinParts {
  store: Store;
  bus: Bus;
  log: Logger;
  now: () => number;
  authority: CertificateAuthority;
  serverKeys: {
    readonly documents: readonly SignedServerKeys[];
    readonly signer: { signJoined(request: Uint8Array, answer: Uint8Array): Uint8Array };
  };
  secrets: { gatewayKey(gateway: string, serial: string): Uint8Array };
  secretBox: Pick<SecretBox, 'sharedKey'>;
  installation: Installation;
  epochMac: EpochMac;
  /** Called after events were appended. */
  hub: { notify(): void };
  /** How often requests are looked at, milliseconds. */
  lookMs?: number;
}

/**
 * Why it gets no certificate; `null`: nothing proves that its gateway wrote it, so nobody gets an answer.
 * `over`: the one that it has is worth nothing any more.
 */
type Refusal = { refused: string | null; over?: true };

export class JoinAnswers {
  readonly #parts: JoinParts;
  readonly #looks: OneAtATime;
  #timer: NodeJS.Timeout | undefined;
  #pruneAt = 0;

  constructor(parts: JoinParts) {
    this.#parts = parts;
    this.#looks = new OneAtATime(
      () => this.#look(),
      (error) => parts.log.debug({ err: error }, 'the round of join requests failed'),
    );
  }

  start(): void {
    this.#timer = setInterval(() => {
      if (!this.#looks.running) void this.#looks.ask();
    }, this.#parts.lookMs ?? LOOK_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looks.settled();
  }

  /** The requests that wait for an operator. */
  async awaitingApproval(): Promise<ReadJoin[]> {
    const read = await Promise.all((await this.#parts.bus.joins.waiting()).map(readJoin));
    return read.filter((join) => join !== null).filter(({ request }) => request.right.by === 'approval');
  }

  /** Rejects with `BusUnavailable`; approving again repeats whatever had been done. */
  async approve(join: ReadJoin, actor: string): Promise<void> {
    const issued = await this.#parts.store.transaction(async (tx) => {
      await tx.authorities.lock();
      return this.#issue(tx, join, actor);
    });
    await this.#bring(join, issued);
  }

  async #look(): Promise<void> {
    const { bus, log } = this.#parts;
    await this.#prune();
    let answered = 0;
    for (const waiting of await bus.joins.waiting()) {
      const join = await readJoin(waiting);
      if (join?.request.right.by === 'approval') continue;
      if (answered++ === ANSWERS_PER_LOOK) return;
      const outcome = join === null ? { refused: null } : await this.#decide(join);
      if (join === null || ('refused' in outcome && outcome.refused === null)) {
        log.warn({ request: waiting.id }, 'a request to join that no gateway signed was dropped');
        await bus.joins.drop([waiting.id]);
      } else {
        await this.#bring(join, outcome);
      }
    }
  }

  async #prune(): Promise<void> {
    const now = this.#parts.now();
    if (now < this.#pruneAt) return;
    this.#pruneAt = now + PRUNE_EVERY_MS;
    await this.#parts.store.gatewayCertificates.prune(now - KEEP_EXPIRED_MS);
  }

  async #bring(join: ReadJoin, outcome: Issued | Refusal): Promise<void> {
    const { bus, serverKeys, log } = this.#parts;
    const { gateway } = join.request;
    const body =
      'refused' in outcome
        ? encodeJoinAnswer({ kind: 'refused', detail: outcome.refused ?? '', over: outcome.over === true })
        : await this.#joined(join, outcome);
    const sig = serverKeys.signer.signJoined(join.body, body);
    await bus.joins.answer(join.id, encodeSignedAnswer({ keys: serverKeys.documents, body, sig }));
    const who = { [serverOf(gateway) === null ? 'gateway' : 'server']: nameOf(gateway) };
    if ('refused' in outcome) log.warn({ ...who, why: outcome.refused }, `${called(gateway)} was not let in`);
    else log.info({ ...who, serial: outcome.record.serial }, `${called(gateway)} has a certificate`);
  }

  async #joined({ body, request }: ReadJoin, issued: Issued): Promise<Uint8Array> {
    const { record, certificate, trusted, trusts } = issued;
    const { gateway, serial, issuedAt, expiresAt } = record;
    const sealed = await sealTo({
      platform: nodeHpke,
      publicKey: request.sealTo,
      info: joinedInfo(body),
      message: this.#keysFor(request, serial),
    });
    const times = { issuedAt, expiresAt };
    const authorities = trusted;
    const { installation: own, epochMac } = this.#parts;
    const installation = { ...own, seal: epochMac.of(own) };
    return encodeJoinAnswer({
      kind: 'joined',
      ...{ gateway, serial, certificate, authorities, trusts, ...times, sealed, installation },
    });
  }

  /** A server that renews has the key of the secrets; whoever stole its certificate does not get it so. */
  #keysFor({ gateway, right }: ReadJoin['request'], serial: string): Uint8Array {
    const { secrets, secretBox } = this.#parts;
    const macKey = secrets.gatewayKey(gateway, serial);
    const joins = serverOf(gateway) !== null && right.by !== 'certificate';
    const secretsKey = joins ? secretBox.sharedKey() : null;
    return secretsKey ? Buffer.concat([macKey, secretsKey]) : macKey;
  }

  async #decide(join: ReadJoin): Promise<Issued | Refusal> {
    const { store, hub } = this.#parts;
    const decided = await store.transaction(async (tx) => {
      await tx.authorities.lock();
      const refusal = await this.#refusalOf(tx, join);
      return refusal ?? this.#issue(tx, join, 'system');
    });
    hub.notify();
    return decided;
  }

  async #refusalOf(tx: Store, join: ReadJoin): Promise<Refusal | null> {
    const { right } = join.request;
    if (right.by === 'token') return this.#tokenRefusal(tx, join, right.token);
    if (right.by === 'certificate') return this.#renewalRefusal(tx, join, right.certificate);
    return { refused: null };
  }

  /** Only a request signed by the token's key gets a refusal, so nobody else can make a gateway give up. */
  async #tokenRefusal(tx: Store, join: ReadJoin, id: string): Promise<Refusal | null> {
    const token = await tx.joinTokens.get(id);
    if (!token) return { refused: `There is no join token ${id}: ask an operator for a new one.` };
    if (join.proof === undefined || !holdsKey(token.publicKey, joinBytes(join.body), join.proof)) {
      return { refused: null };
    }
    const { gateway } = join.request;
    if (token.gateway !== gateway) {
      return { refused: `The join token is for ${called(token.gateway)}, not for ${called(gateway)}.` };
    }
    // For one request, and not for one key: a thief of the token could have another's key certified again,
    // and what is secret in the answer sealed to itself.
    const used = await tx.joinTokens.use(id, Buffer.from(join.id, 'hex'), this.#parts.now());
    // A replay of the request revives no ended certificate, and takes no gateway's place.
    const isSpent = token.usedAt !== null && (await this.#heldBy(tx, join)) === undefined;
    if (!('refused' in used) && !isSpent) return null;
    const what = {
      unknown: 'is gone',
      revoked: 'was revoked',
      expired: 'has expired',
      'used-up': 'was used',
    };
    const why = 'refused' in used ? used.refused : 'used-up';
    return { refused: `The join token ${what[why]}: ask an operator for a new one.` };
  }

  async #renewalRefusal(tx: Store, join: ReadJoin, der: Uint8Array): Promise<Refusal | null> {
    const now = this.#parts.now();
    const held = readHeld(der, join);
    const isOld = Math.abs(now - join.request.at) > RENEWAL_VALID_MS;
    const record = held === null || isOld ? null : await this.#recordOf(tx, held, join);
    if (held === null || record === null || !held.keyHash.equals(record.keyHash)) return { refused: null };
    const { gateway } = join.request;
    if (record.gateway !== gateway) {
      return { refused: `The certificate is of ${called(record.gateway)}, not of ${called(gateway)}.` };
    }
    const over = record.revokedAt !== null ? 'was revoked' : record.expiresAt <= now ? 'has expired' : null;
    if (over !== null) {
      return {
        refused: `The certificate of ${called(gateway)} ${over}: join again with a token or approval.`,
        over: true,
      };
    }
    if ((await this.#heldBy(tx, join)) !== undefined) return null;
    const issued = await tx.gatewayCertificates.countSince(gateway, now - HOUR_MS);
    if (issued < ISSUED_PER_HOUR) return null;
    return { refused: `The ${called(gateway)} got ${issued} certificates within an hour: try again later.` };
  }

  /**
   * A restored database does not know what was issued since, nor perhaps the authority that issued it. The
   * gateway shows that it has the key of this certificate, which this installation alone gives.
   */
  async #recordOf(tx: Store, held: HeldCertificate, join: ReadJoin): Promise<GatewayCertificate | null> {
    const { serial, keyHash, certificate } = held;
    const known = await tx.gatewayCertificates.get(serial);
    if (known) return known;
    const { gateway } = join.request;
    const own = joinMac(this.#parts.secrets.gatewayKey(gateway, serial), join.body);
    if (join.mac === undefined || !timingSafeEqual(own, join.mac)) return null;
    const authority = (await this.#parts.authority.issuerOf(tx, certificate)) ?? 0;
    const issuedAt = timeOfSerial(serial);
    const expiresAt = Math.min(Date.parse(certificate.validTo), issuedAt + CERTIFICATE_LIFE_MS);
    const revokedAt = await revocationOf(tx, gateway, serial);
    const record = { serial, gateway, keyHash, authority, issuedAt, expiresAt, revokedAt };
    await tx.gatewayCertificates.create(record);
    return record;
  }

  /**
   * A gateway that joins under a name takes it over; one that renews keeps its certificates until they
   * expire.
   */
  async #issue(tx: Store, join: ReadJoin, actor: string): Promise<Issued> {
    const { request, csr } = join;
    const { authority } = this.#parts;
    const at = this.#parts.now();
    const { gateway, right } = request;
    const held = await this.#heldBy(tx, join);
    if (held) return authority.issueAgain(tx, held, csr);
    if (right.by !== 'certificate') await revokeAll(tx, gateway, at);
    const issued = await authority.issue(tx, gateway, csr);
    if (right.by === 'certificate') return issued;
    const { serial, expiresAt } = issued.record;
    const by = right.by === 'token' ? { token: right.token } : {};
    const detail = { serial, expiresAt, ...by };
    const [kind, name] = [serverOf(gateway) === null ? 'gateway' : 'server', nameOf(gateway)];
    await tx.audit.append({ at, actor, action: `${kind}.joined`, subject: name, detail });
    await tx.events.append([{ at, type: `${kind}.joined`, data: { name } }]);
    return issued;
  }

  /** The certificate of this key that is neither revoked nor expired. */
  async #heldBy(tx: Store, { request, csr }: ReadJoin): Promise<GatewayCertificate | undefined> {
    const now = this.#parts.now();
    return (await tx.gatewayCertificates.ofGateway(request.gateway)).find(
      ({ keyHash, revokedAt, expiresAt }) =>
        Buffer.from(keyHash).equals(csr.keyHash) && revokedAt === null && expiresAt > now,
    );
  }
}
