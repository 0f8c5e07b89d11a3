/** Enrolment (PROTOCOL.md, section E): once, over HTTP or HTTPS, with a token. */
import {
  decodeOrderBody,
  type Edition,
  editionOf,
  isNewer,
  NO_EDITION,
  parseToken,
} from '../protocol/index.ts';
import { type EnrolmentAnswer, openAnswer, openRefusal, signRequest } from './enrolment-messages.ts';
import { open } from './executions/book.ts';
import { inNamedOrder } from './gateways/named-order.ts';
import { ApiError, apiPost, type Fetch } from './platform/api-request.ts';
import { clip } from './platform/clip.ts';
import type { DeviceCrypto, DeviceKey } from './platform/crypto.ts';
import type { DeviceIdentity, DeviceState, DeviceStore } from './storage/store.ts';

export interface EnrollOptions {
  /**
   * Base URL of the administration server's HTTP API. Over plain http, others can read the device's name; the
   * token decides whose answer is accepted.
   */
  server: string;
  /** From an operator: `pp1.…` (E-1). */
  token: string;
  store: DeviceStore;
  crypto: DeviceCrypto;
  /** The device's name for people. */
  name: string;
  platform: string;
  /** Name and version of the program. */
  software: string;
  /** Ask even if the store holds an identity, to get a current list of gateways (E-7). */
  again?: boolean;
  /** Time limit of the request, milliseconds; default 15 s. */
  timeoutMs?: number;
  signal?: AbortSignal;
  /** Makes the request; the platform's when absent. */
  fetch?: Fetch;
}

/**
 * The administration server did not enrol the device. `temporary`: asking again later may help (E-6). It is
 * `false` only for an invalid token and for a refusal that the server signed.
 */
export class EnrollError extends ApiError {
  override readonly name = 'EnrollError';
}

/**
 * The device's identity. Enrols the device if the store has none. It stores the key before it asks the
 * server, so that asking again after a crash gives the same device (E-5). Throws `EnrollError`.
 */
export async function enroll(options: EnrollOptions): Promise<DeviceIdentity> {
  const { store, crypto, server, timeoutMs, signal, fetch } = options;
  const { state, executions } = await store.load();
  if (state.identity && state.keys && !options.again) return state.identity;
  const token = parseToken('pp1', options.token);
  if (!token) throw new EnrollError('this is no enrolment token: one begins with `pp1.`');
  const key = state.key ?? (await crypto.generate());
  if (!state.key) await store.saveState({ ...state, key });
  const name = clip(options.name, 128);
  const about = { name, platform: clip(options.platform, 64), software: clip(options.software, 64) };
  const ask = async (as: DeviceKey) => {
    const request = await signRequest({ token, key: as, crypto, about });
    const question = { server, path: 'v1/enroll', body: request.json, timeoutMs, signal, fetch };
    const answer = await apiPost(question, EnrollError).catch(async (error: EnrollError) => {
      const final = await openRefusal(error.answer, request, state.keys).catch(() => null);
      if (!final) throw error;
      throw new EnrollError(final.detail, { status: error.status, code: final.code, temporary: false });
    });
    const enrolled = await openAnswer(answer, request, state.keys).catch((error: Error) => {
      // It may not be the server's: somebody on the way must not end an enrolment.
      throw new EnrollError(`the answer is not as E-3 says: ${error.message}`, { temporary: true });
    });
    return { as, enrolled };
  };
  const { nextKey } = state;
  const { as, enrolled } = await ask(key).catch((error: EnrollError) => {
    // K-6: the server knows the device by the key that it asked for, and the answer was lost.
    if (!nextKey || error.temporary || error.code !== 'key-replaced') throw error;
    return ask(nextKey);
  });
  const other = state.identity && state.identity.deviceId !== enrolled.deviceId;
  const next = nextState({ ...state, key: as }, enrolled, server);
  await store.saveState({
    ...{ ...next, enrolledAs: name, ...(other && { groupKeys: [] }) },
    nextKey: other || as === nextKey ? undefined : nextKey,
  });
  // Commands for the previous device id are neither run nor reported (E-5); if one comes again, it counts as
  // run.
  const over = (other ? executions.filter(open) : []).map(({ id, issuedAt, expiresAt }) => ({
    put: { id, issuedAt, expiresAt, state: 'settled' as const },
  }));
  await store.append([...over, { marks: { issuedAt: enrolled.membership.order.issuedAt } }]);
  return next.identity;
}

function nextState(
  state: DeviceState,
  { deviceId, installation, generation, secret, keys, membership, list, listed, gateways }: EnrolmentAnswer,
  server: string,
): DeviceState & { identity: DeviceIdentity } {
  const { order, body, sig } = membership;
  const { identity: before } = state;
  const rekeyed = before?.deviceId === deviceId && before.generation !== generation;
  const former = rekeyed && { formerSecret: before.secret };
  return {
    ...state,
    keys,
    identity: { deviceId, secret, generation, installation, server, ...former },
    ...(isNewer(editionOf(order), heldEdition(state, deviceId)) ? { membership: { body, sig } } : {}),
    ...(list && listed && { list, gateways: inNamedOrder(listed, gateways) }),
  };
}

/** Editions count per device id (S-7): under a new id, it holds no membership. */
function heldEdition({ identity, membership }: DeviceState, deviceId: string): Edition {
  if (!membership || identity?.deviceId !== deviceId) return NO_EDITION;
  const held = decodeOrderBody(membership.body);
  return held?.kind === 'membership' ? editionOf(held) : NO_EDITION;
}
