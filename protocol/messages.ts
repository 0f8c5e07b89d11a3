/**
 * Every message of `pushpoint.v1`, mirroring PROTOCOL.md section by section. A frame is one MessagePack map
 * whose `t` names the message. Times are milliseconds since the Unix epoch, durations milliseconds.
 */
import type { Edition } from './editions.ts';
import type { FinalState, ReportableState } from './execution-states.ts';

/**
 * One gateway a device may use. `url` is what the device dials, for example `wss://gw1.example.net:13295`.
 */
export interface GatewayAddress {
  name: string;
  url: string;
}

/* ---- gateway to device ---- */

/**
 * First frame of a connection (H-2). `nonce` is fresh random bytes, `gateway` the gateway's name,
 * `installation` its installation.
 */
export interface Challenge {
  t: 'challenge';
  nonce: Uint8Array;
  gateway: string;
  /** The gateway's installation (E-3). */
  installation: string;
  time: number;
}

/** The administration server vouches for a gateway for a day (S-9): `body` is an encoded `Pass`. */
export interface SignedPass {
  body: Uint8Array;
  sig: Uint8Array;
}

export interface Pass {
  gateway: string;
  issuedAt: number;
  expiresAt: number;
}

/** `body` is a document of server keys (K-1), encoded. */
export interface SignedServerKeys {
  body: Uint8Array;
  /** By the root key that the body names. */
  sig: Uint8Array;
  /** With a new root: by the root before it. */
  previousSig?: Uint8Array;
}

/** The device is admitted (H-6). */
export interface Welcome {
  t: 'welcome';
  /** Number of this session; larger than that of any earlier session of this device. */
  session: number;
  time: number;
  heartbeatMs: number;
  /** Of this gateway (S-9). */
  pass?: SignedPass;
  /** Names of the gateways this device may use, the best first (G-1). */
  gateways: string[];
}

/** The answer to a heartbeat (B-2). */
export interface BeatAnswer {
  t: 'beat';
  time: number;
  /** Commands whose result is stored as the device reported it. */
  settled?: readonly string[];
}

/** A statement of the administration server: `body` is a signed `OrderBody`, encoded (S-1). */
export interface SignedOrder {
  body: Uint8Array;
  sig: Uint8Array;
}

export interface Order extends SignedOrder {
  t: 'order';
}

/** The gateway's pass, to a device that asked for it (S-9). */
export interface PassMessage extends SignedPass {
  t: 'pass';
}

/** The keys that sign for the installation, to a device that holds older ones (K-5). */
export interface KeysMessage extends SignedServerKeys {
  t: 'keys';
}

/** The ledger has recorded the end of this execution: the device may forget its result. */
export interface Settled {
  t: 'settled';
  id: string;
  state: FinalState | 'unknown';
}

/** The gateway cannot take this result now: the device keeps it and sends it again later. */
export interface Keep {
  t: 'keep';
  id: string;
  /** Shortest delay, milliseconds. */
  retryMs: number;
}

/** The name of a group's key. */
export interface GroupKeyName {
  group: string;
  epoch: number;
  number: number;
}

/** Readable only with its key. */
export interface Encrypted {
  /** 12 random bytes. */
  nonce: Uint8Array;
  /** As long as the plaintext plus the 16 bytes of the tag. */
  ct: Uint8Array;
}

/** The key of a group that the device asked for, sealed for this device. */
export interface Key extends GroupKeyName, Encrypted {
  t: 'key';
}

/** The order of the gateways changed (G-1). */
export interface Update {
  t: 'update';
  /** Names, the best first. */
  gateways: string[];
}

/** The reasons of this version. Devices accept any other reason, so that later gateways may add some. */
export const REDIRECT_REASONS = ['drain', 'balance', 'scope', 'full'] as const;
export type RedirectReason = (typeof REDIRECT_REASONS)[number];

/** Leave for one of `to`, the first that answers, within `withinMs` (G-3). The gateway closes afterwards. */
export interface Redirect {
  t: 'redirect';
  /** Names. */
  to: string[];
  /** A `RedirectReason`, or one of a later version. */
  reason: string;
  withinMs: number;
}

export type GatewayMessage =
  | Challenge
  | Welcome
  | BeatAnswer
  | Order
  | PassMessage
  | KeysMessage
  | Settled
  | Keep
  | Key
  | Update
  | Redirect;

/* ---- device to gateway ---- */

/** The answer to the challenge (H-3). */
export interface Prove {
  t: 'prove';
  device: string;
  sig: Uint8Array;
  /** Name and version of the device's software, for people. */
  software: string;
  /** Command types it handles. */
  caps: string[];
  /** Edition of the membership it holds (S-7). */
  membership: Edition;
  /** Edition of the server keys it holds (K-5). */
  keys: Edition;
  /** Edition of the list of gateways it holds for its group (G-18). */
  gateways: Edition;
  /** Its name for people, if that differs from its name at enrolment (E-5). */
  name?: string | undefined;
  /** Another program with its key ended its last session (H-9). */
  displaced?: true | undefined;
}

export const COMPLIANCE = ['compliant', 'observe', 'warn', 'about-to-be-restricted', 'restricted'] as const;
export type Compliance = (typeof COMPLIANCE)[number];

/** Distance of a gateway as measured by the device (G-10): its fastest probe, whole milliseconds. */
export interface MeasuredGateway {
  name: string;
  ms: number;
}

/** What only the device can make, and the ledger alone reads: gateways pass it on. */
export interface Authenticated {
  body: Uint8Array;
  mac: Uint8Array;
}

/** What the `body` of a status says. */
export interface StatusBody {
  /** Larger than that of every earlier status of the device. */
  number: number;
  /** Revision of the policy in force on the device. */
  policy?: string;
  compliance?: Compliance;
}

/** Heartbeat (B-1); what changed since the last one reaches the administration server. */
export interface Beat {
  t: 'beat';
  /** What the device says of itself; `body` is an encoded `StatusBody` (B-5). */
  status?: Authenticated;
  /**
   * Sent once after every change, the nearest first; replaces the previous list. Empty: nothing could be
   * measured.
   */
  measured?: MeasuredGateway[];
  /** Asks for the gateway's pass (S-9). */
  pass?: true;
}

/** The command is remembered and will not be run a second time (D-3). */
export interface Ack {
  t: 'ack';
  id: string;
}

/** The command runs; `percent` 0 to 100 (D-5). */
export interface Progress {
  t: 'progress';
  id: string;
  percent?: number;
  note?: string;
}

/** The outcome of an execution, for the ledger; `body` is an encoded `ResultBody`. */
export interface Result extends Authenticated {
  t: 'result';
  id: string;
}

/** Asks for the key of a group, which a secret command needs. */
export interface Want extends GroupKeyName {
  t: 'want';
}

/** What the `body` of a result says. */
export interface ResultBody {
  state: ReportableState;
  reason?: string;
  data?: unknown;
}

export type DeviceMessage = Prove | Beat | Ack | Progress | Result | Want;

/* ---- signed bodies, administration server to device ---- */

/** Whom an order is for: one device, or every device whose membership names the group (S-4). */
export type OrderTarget = { device: string } | { group: string };

/** Arguments of a secret command. */
export interface SealedArgs extends Encrypted {
  /** The key they are sealed with; the device's own where it is absent. */
  key?: GroupKeyName;
}

/** A command (D-1). An execution is the pair of this id and the device's own. */
export interface CommandOrder {
  kind: 'command';
  id: string;
  type: string;
  /** `null` where they are sealed. */
  args: unknown;
  /** Of a secret command. */
  sealed?: SealedArgs;
  target: OrderTarget;
  issuedAt: number;
  /** Deliver by: a device that receives it later refuses it (S-5). */
  expiresAt: number;
  /** Finish by: time the device may take from its acknowledgement, milliseconds. */
  timeoutMs: number;
}

/** Stop, or do not start, the command `id` (D-8). */
export interface CancelOrder {
  kind: 'cancel';
  id: string;
  target: OrderTarget;
  issuedAt: number;
  expiresAt: number;
}

/** A device's relation to the installation (S-8). */
export const MEMBERSHIP_STATES = ['active', 'blocked', 'deleted', 'moved'] as const;
export type MembershipState = (typeof MEMBERSHIP_STATES)[number];

/** Where a device that moved belongs now: the fingerprint of that installation, and its API's base URL. */
export interface OtherInstallation {
  fingerprint: Uint8Array;
  url: string;
}

/** The groups this device belongs to, from the root down (S-7), and whether it still belongs at all (S-8). */
export interface MembershipOrder {
  kind: 'membership';
  target: { device: string };
  state: MembershipState;
  /** With state `active`: the raw public key that the device proves itself with, 32 bytes. */
  key?: Uint8Array;
  groups: string[];
  /** With the revision, its edition: a device takes only a newer one. */
  epoch: number;
  revision: number;
  /** With state `moved`. */
  to?: OtherInstallation;
  issuedAt: number;
}

/** All gateways that the devices of a group may use, in no particular order (G-18). */
export interface GatewaysOrder {
  kind: 'gateways';
  target: { group: string };
  /** With the revision, its edition: a device takes a newer one only. */
  epoch: number;
  revision: number;
  gateways: GatewayAddress[];
  issuedAt: number;
}

export type OrderBody = CommandOrder | CancelOrder | MembershipOrder | GatewaysOrder;
