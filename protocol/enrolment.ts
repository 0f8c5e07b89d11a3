/** What a device and its administration server say to each other once (PROTOCOL.md, section E). */
import { pack } from '#msgpack';
import { joinBytes } from './bytes.ts';
import { gatewayNames } from './codec.ts';
import {
  bytesOf,
  decodeMap,
  defined,
  type Fields,
  id,
  integer,
  isGiven,
  mapOf,
  oneOf,
  optionalText,
  signedBody,
} from './fields.ts';
import { ProtocolError } from './frame-scan.ts';
import type { Sealed } from './hpke.ts';
import { LIMITS, SERVER_LIMITS } from './limits.ts';
import type { SignedOrder } from './messages.ts';
import { isStrictEd25519, isStrictX25519 } from './public-keys.ts';

/** The body of a request (E-2). */
export interface EnrolRequest {
  /** Id of the token. */
  token: string;
  /** The device's Ed25519 key, raw. */
  publicKey: Uint8Array;
  /** X25519 key made for this request, raw: the answer's secret is sealed to it. */
  sealTo: Uint8Array;
  /** For people; the server cuts each where it is too long. */
  name?: string | undefined;
  platform?: string | undefined;
  software?: string | undefined;
}

/** The body of an answer (E-3). */
export interface Enrolled {
  deviceId: string;
  installation: string;
  /** Which secret of this device it is. */
  generation: number;
  /** The device secret. */
  secret: Sealed;
  membership: SignedOrder;
  /** The gateways it may use (G-18); absent while there are none. */
  list?: SignedOrder;
  /** Names of them, the best first. */
  gateways: string[];
}

/** A request as it travels (E-2). */
export interface SignedEnrolRequest {
  body: Uint8Array;
  /** By the token's key, and by the device's, 64 bytes each. */
  tokenSig: Uint8Array;
  deviceSig: Uint8Array;
}

/**
 * The input of the request's hash. It includes the signatures, so nobody can spoil one on the way and pass
 * off the server's refusal of the spoilt request as its answer.
 */
export function requestBytes({ body, tokenSig, deviceSig }: SignedEnrolRequest): Uint8Array<ArrayBuffer> {
  return joinBytes(body, tokenSig, deviceSig);
}

/** Devices shorten its texts so that they fit (E-2). */
export function encodeEnrolRequest(request: EnrolRequest): Uint8Array<ArrayBuffer> {
  return pack(defined({ kind: 'enrol', ...request }));
}

/** Signed or not. Throws `ProtocolError`. */
export function decodeEnrolRequest(body: Uint8Array): EnrolRequest {
  const fields = decodeMap(body, SERVER_LIMITS.enrolBytes);
  oneOf(fields, 'kind', ['enrol']);
  return defined({
    token: id(fields, 'token'),
    publicKey: strict(fields, 'publicKey', isStrictEd25519),
    sealTo: strict(fields, 'sealTo', isStrictX25519),
    name: optionalText(fields, 'name', SERVER_LIMITS.enrolTextLength),
    platform: optionalText(fields, 'platform', SERVER_LIMITS.enrolTextLength),
    software: optionalText(fields, 'software', SERVER_LIMITS.enrolTextLength),
  });
}

/** Throws `ProtocolError` for an answer that no device would take. */
export function encodeEnrolled(enrolled: Enrolled): Uint8Array<ArrayBuffer> {
  const body = pack(defined({ kind: 'enrolled', ...enrolled }));
  decodeEnrolled(body);
  return body;
}

/** Signed or not. Throws `ProtocolError`. */
export function decodeEnrolled(body: Uint8Array): Enrolled {
  const fields = decodeMap(body, LIMITS.answerBytes);
  oneOf(fields, 'kind', ['enrolled']);
  const secret = mapOf(fields.secret, 'secret');
  const order = (key: string) => signedBody(mapOf(fields[key], key), LIMITS.frameBytes);
  return {
    deviceId: id(fields, 'deviceId'),
    installation: id(fields, 'installation'),
    generation: integer(fields, 'generation', 1),
    secret: {
      enc: strict(secret, 'enc', isStrictX25519),
      ct: bytesOf(secret, 'ct', LIMITS.secretBytes + LIMITS.sealTagBytes),
    },
    membership: order('membership'),
    ...(isGiven(fields.list) && { list: order('list') }),
    gateways: gatewayNames(fields, 'gateways'),
  };
}

function strict(
  fields: Fields,
  key: string,
  isStrict: (key: Uint8Array) => boolean,
): Uint8Array<ArrayBuffer> {
  const value = bytesOf(fields, key, LIMITS.publicKeyBytes);
  if (!isStrict(value)) throw new ProtocolError('E-8', `${key}: of small order, or not canonical`);
  return value;
}
