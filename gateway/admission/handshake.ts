/**
 * The handshake as a list of steps. Each step checks one thing and either passes the candidate or returns a
 * refusal; `judge` runs them in order. There is no I/O here: `admission.ts` fetches the data and acts on the
 * result.
 */
import { randomFillSync } from 'node:crypto';
import type { DirectoryDevice } from '../../bus/bus.ts';
import {
  CLOSE,
  type CloseCode,
  type Edition,
  isNewer,
  LIMITS,
  type Prove,
  proofBytes,
  type RedirectReason,
} from '../../protocol/index.ts';
import type { GatewayList, ListedGateway } from '../lists/gateway-list.ts';
import type { Dismissals } from './dismissals.ts';
import type { MembershipCheck } from './membership-check.ts';
import type { SignatureCheck } from './signature-check.ts';

export interface Applicant {
  prove: Prove;
  nonce: Uint8Array;
  /** Local port by which it came. */
  port: number;
  device: DirectoryDevice | null;
}

export interface Rejection {
  code: CloseCode;
  reason: string;
  /** Encoded `order` with the membership that says why, sent before the close. */
  order?: Uint8Array;
  /** Sent before the close, after the list that has them (H-10). */
  redirect?: { to: ListedGateway[]; reason: RedirectReason };
  /** Somebody else wrote the device's entry in the directory, or wrote an earlier one back. */
  unsigned?: true;
}

interface Verifier {
  gateway: string;
  gateways: GatewayList;
  isSigned: SignatureCheck;
  isMember: MembershipCheck;
  /** Whether this gateway moved from a port, and the list of the group says where to. */
  movedFrom(port: number, group: string): boolean;
  dismissals: Pick<Dismissals, 'isOutdated'>;
}

type Step = (applicant: Applicant, device: DirectoryDevice, verifier: Verifier) => Rejection | null;

/**
 * The device is neither blocked nor deleted (H-3); otherwise it gets its signed membership, which says so
 * (S-8).
 */
const isActive: Step = ({ prove }, device) =>
  device.state === 'active' ? null : dismissal(device, prove.membership);

/**
 * The refusal of a device that is not active; its membership is sent only if the device holds an older one.
 */
export function dismissal(device: DirectoryDevice, held: Edition): Rejection {
  const told = isNewer(device.membershipEdition, held) ? { order: device.membership } : {};
  return device.state === 'blocked'
    ? { code: CLOSE.blocked, reason: 'H-3: blocked by an operator', ...told }
    : { code: CLOSE.unknownDevice, reason: 'H-3: deleted or moved by an operator', ...told };
}

/** The proof is valid for the key in the directory (H-3, H-4). */
const provesItsKey: Step = ({ prove, nonce }, device, { gateway, isSigned }) =>
  isSigned(prove.sig, proofBytes(nonce, gateway, prove.device), device.publicKey)
    ? null
    : { code: CLOSE.badProof, reason: 'H-3: the proof is invalid' };

/** The administration server signed what the device's entry says (H-3). */
const isMember: Step = (_applicant, device, verifier) =>
  verifier.isMember(device)
    ? null
    : { code: CLOSE.notReady, reason: 'H-3: no signed membership vouches for the device', unsigned: true };

/** It was not sent away from here with a newer membership than its entry has (H-3). */
const isCurrent: Step = (_applicant, device, { dismissals }) =>
  dismissals.isOutdated(device)
    ? { code: CLOSE.notReady, reason: 'H-3: the device was told a newer membership', unsigned: true }
    : null;

/** This gateway serves one of the device's groups (H-10). */
const isInScope: Step = (_applicant, device, { gateways }) =>
  gateways.serves(device.groups)
    ? null
    : {
        code: CLOSE.outOfScope,
        reason: 'H-10: this gateway serves another group',
        redirect: { to: gateways.elsewhere(gateways.scope(device.groups), device.id), reason: 'scope' },
      };

/** It came by the port where this gateway listens (H-10). */
const isAtItsPort: Step = ({ port }, device, { gateways, movedFrom }) =>
  movedFrom(port, gateways.scope(device.groups).group)
    ? {
        code: CLOSE.redirected,
        reason: 'H-10: the push server port changed',
        redirect: { to: gateways.itself(), reason: 'drain' },
      }
    : null;

/** Cheap steps come first, and only an authenticated device learns its gateways. */
const STEPS: readonly Step[] = [isActive, provesItsKey, isMember, isCurrent, isInScope, isAtItsPort];

export function judge(applicant: Applicant, verifier: Verifier): Rejection | null {
  const { device } = applicant;
  if (!device) return { code: CLOSE.unknownDevice, reason: 'H-3: no such device' };
  for (const step of STEPS) {
    const rejection = step(applicant, device, verifier);
    if (rejection) return rejection;
  }
  return null;
}

/** Draws random bytes for many nonces at once: a call into the generator costs more than the bytes. */
export class Nonces {
  static readonly #count = 256;
  readonly #pool = Buffer.allocUnsafeSlow(Nonces.#count * LIMITS.nonceBytes);
  #used = Nonces.#count;

  /** 32 fresh bytes in their own buffer. */
  next(): Uint8Array {
    if (this.#used === Nonces.#count) {
      randomFillSync(this.#pool);
      this.#used = 0;
    }
    const start = this.#used++ * LIMITS.nonceBytes;
    return new Uint8Array(this.#pool.subarray(start, start + LIMITS.nonceBytes));
  }
}
