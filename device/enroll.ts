/** Enrolment (PROTOCOL.md, section E): once, over HTTP, with a token. */
import {
  decodeOrderBody,
  type Edition,
  editionOf,
  enrolBytes,
  ID_PATTERN,
  isNewer,
  LIMITS,
  NO_EDITION,
  orderBytes,
} from '../protocol/index.ts';
import { open } from './executions/book.ts';
import { answeredGateways, usableGateways } from './gateways/answered.ts';
import { type DeviceLog, silent } from './log.ts';
import { ApiError, apiPost, type Fetch } from './platform/api-request.ts';
import { fromBase64url, toBase64url } from './platform/base64url.ts';
import { clip } from './platform/clip.ts';
import type { DeviceCrypto } from './platform/crypto.ts';
import type { DeviceIdentity, DeviceState, DeviceStore } from './storage/store.ts';

export interface EnrollOptions {
  /**
   * Base URL of the administration server's HTTP API. What it answers is trusted from then on: use https
   * (E-4).
   */
  server: string;
  token: string;
  store: DeviceStore;
  crypto: DeviceCrypto;
  /** What people call the device. */
  name: string;
  platform: string;
  /** Name and version of the program. */
  software: string;
  /** Ask although the store holds an identity: for a current list of gateways (E-7). */
  again?: boolean;
  /** Longest time for the request, milliseconds; default 15 s. */
  timeoutMs?: number;
  signal?: AbortSignal;
  /** Makes the request; the platform's when absent. */
  fetch?: Fetch;
  log?: DeviceLog;
}

/** The administration server did not enrol the device. `temporary`: asking again later may help (E-6). */
export class EnrollError extends ApiError {
  override readonly name = 'EnrollError';
}

/**
 * Who the device is. Enrols it when the store does not say yet; the key is kept before the server is asked,
 * so that asking again after a crash leads to the same device (E-5). Throws `EnrollError`.
 */
export async function enroll(options: EnrollOptions): Promise<DeviceIdentity> {
  const { store, crypto } = options;
  // From a file or a page, it often comes with the end of its line.
  const token = options.token.trim();
  const { state, executions } = await store.load();
  if (state.identity && !options.again) return state.identity;
  const key = state.key ?? (await crypto.generate());
  if (!state.key) await store.saveState({ ...state, key });
  const proof = await crypto.sign(key.privateKey, enrolBytes(token, key.publicKey));
  const { server, timeoutMs, signal, fetch } = options;
  const body = {
    token,
    publicKey: toBase64url(key.publicKey),
    proof: toBase64url(proof),
    name: clip(options.name, 128),
    platform: clip(options.platform, 64),
    software: clip(options.software, 64),
  };
  const request = { server, path: 'v1/enroll', body, timeoutMs, signal, fetch };
  const answer = await apiPost(request, EnrollError).catch((error) => {
    throw state.identity ? asEnrolled(error) : error;
  });
  const next = await read(answer, options, { ...state, key });
  if (
    state.identity &&
    toBase64url(state.identity.serverKey) !== toBase64url(next.state.identity.serverKey)
  ) {
    throw new EnrollError('the server has another key than the one this device trusts (E-4)', {
      temporary: true,
    });
  }
  const other = state.identity && state.identity.deviceId !== next.state.identity.deviceId;
  await store.saveState({ ...next.state, enrolledAs: body.name, ...(other && { groupKeys: [] }) });
  // What another device was told is neither run nor reported by this one (E-5); should it come again, it has
  // run here.
  const over = (other ? executions.filter(open) : []).map(({ id, issuedAt, expiresAt }) => ({
    put: { id, issuedAt, expiresAt, state: 'settled' as const },
  }));
  await store.append([...over, { marks: { issuedAt: next.issuedAt } }]);
  return next.state.identity;
}

/** Nobody signed it: it ends no device that is enrolled (E-6). */
function asEnrolled(error: unknown): unknown {
  if (!(error instanceof EnrollError) || error.temporary) return error;
  const { message, status, code, retryAfterMs } = error;
  return new EnrollError(message, { temporary: true, status, code, retryAfter: retryAfterMs });
}

async function read(
  answer: Record<string, unknown>,
  { crypto, server, log = silent }: EnrollOptions,
  state: DeviceState,
): Promise<{ state: DeviceState & { identity: DeviceIdentity }; issuedAt: number }> {
  try {
    const { deviceId, membership } = answer;
    if (typeof deviceId !== 'string' || !ID_PATTERN.test(deviceId)) throw new TypeError('deviceId');
    const serverKey = fromBase64url(answer.serverKey, 32);
    const secret = fromBase64url(answer.secret, LIMITS.secretBytes);
    const { installation, epoch, generation } = answer;
    if (typeof installation !== 'string' || !ID_PATTERN.test(installation))
      throw new TypeError('installation');
    if (typeof epoch !== 'number' || !Number.isSafeInteger(epoch) || epoch < 1) throw new TypeError('epoch');
    if (typeof generation !== 'number' || !Number.isSafeInteger(generation) || generation < 1)
      throw new TypeError('generation');
    const { body: bodyText, sig: sigText } = membership as { body: unknown; sig: unknown };
    const body = fromBase64url(bodyText);
    const sig = fromBase64url(sigText, 64);
    const order = decodeOrderBody(body);
    if (
      !(await crypto.verify(serverKey, orderBytes(body), sig)) ||
      order?.kind !== 'membership' ||
      order.target.device !== deviceId
    ) {
      throw new TypeError('membership, or its signature');
    }
    const gateways = usableGateways(answeredGateways(answer.gateways), log);
    return {
      state: {
        ...state,
        identity: { deviceId, serverKey, secret, generation, installation, epoch, server },
        ...(isNewer(editionOf(order), heldEdition(state, deviceId)) ? { membership: { body, sig } } : {}),
        gateways: gateways.length > 0 ? gateways : state.gateways,
      },
      issuedAt: order.issuedAt,
    };
  } catch (error) {
    // Perhaps not the server's: whoever sits on the way must not end an enrolment.
    throw new EnrollError(`the answer is not as E-3 says: ${(error as Error).message}`, { temporary: true });
  }
}

/** Editions count for one device id (S-7): as another device, it holds none. */
function heldEdition({ identity, membership }: DeviceState, deviceId: string): Edition {
  if (!membership || identity?.deviceId !== deviceId) return NO_EDITION;
  const held = decodeOrderBody(membership.body);
  return held?.kind === 'membership' ? editionOf(held) : NO_EDITION;
}
