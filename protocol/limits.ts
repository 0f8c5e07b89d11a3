/**
 * Limits that both ends of a connection obey. PROTOCOL.md section "Limits" is the same list in prose.
 * Everything is a constant of `pushpoint.v1`: what a gateway may choose, it says in `welcome`.
 */
export const SUBPROTOCOL = 'pushpoint.v1';

export const LIMITS = {
  /** Longest frame in either direction, bytes (F-3). */
  frameBytes: 64 * 1024,
  /** Longest answer of the administration server to a device, bytes (E-6). */
  answerBytes: 64 * 1024,
  /** Longest encoded `args` of a command, bytes. */
  argsBytes: 32 * 1024,
  /** Longest `body` of a result, bytes. */
  resultBytes: 33 * 1024,
  /** Nesting depth of `args` and `data`; the map around them adds one level (F-4). */
  depth: 16,
  /**
   * Longest value of a set that later versions may extend: `t`, `kind`, the `state` of `settled`, the
   * `reason` of `redirect`.
   */
  wordLength: 32,
  /** Longest `reason` of a result, characters. */
  reasonLength: 512,
  /** Longest `note` of a progress report, characters. */
  noteLength: 256,
  /** Longest `body` of a status, bytes, and longest `policy` revision in it, characters (B-5). */
  statusBytes: 512,
  policyLength: 64,
  /** Longest name and version of the device's software, characters. */
  softwareLength: 64,
  /** Longest name for people that a device gives itself, characters. */
  nameLength: 128,
  /** Gateways that a message names (G-1). */
  gateways: 32,
  /** Gateways in a signed list (G-18), and the longest URL, characters. */
  listedGateways: 128,
  urlLength: 512,
  /** Most groups of a device, from the root down to its own (S-7): the depth of the tree. */
  groups: 32,
  /** Most commands that an answer to a heartbeat settles (B-2). */
  settled: 32,
  /** Nonce of a challenge, bytes. */
  nonceBytes: 32,
  /** Raw Ed25519 public key and signature, bytes (RFC 8032). */
  publicKeyBytes: 32,
  signatureBytes: 64,
  /** A device secret, and a key or MAC made from it, bytes. */
  secretBytes: 32,
  macBytes: 32,
  /** Key of a group; nonce and tag of what is sealed, bytes. */
  keyBytes: 32,
  sealNonceBytes: 12,
  sealTagBytes: 16,
  /** Longest `body` of a result before it is sealed, bytes. */
  secretResultBytes: 33 * 1024 - 64,
  /** Body of a pass (S-9), bytes. */
  passBytes: 512,
  /** Body of the server keys (K-1), bytes, and signing keys in it. */
  serverKeysBytes: 512,
  signingKeys: 4,
  /** Documents of server keys in an answer (K-7). */
  serverKeyDocuments: 16,
  /** Heartbeat interval a gateway may ask for, milliseconds. */
  heartbeatMinMs: 1_000,
  heartbeatMaxMs: 900_000,
  /** Pause a gateway may ask for before a result is sent again, milliseconds. */
  retryMinMs: 1_000,
  retryMaxMs: 3_600_000,
  /** Finish-by clock: the longest time an execution may take after its acknowledgement (7 days). */
  timeoutMaxMs: 7 * 86_400_000,
} as const;

/** Limits of measuring, apart for devices that do without. */
export const MEASURING_LIMITS = {
  /** Most gateways whose distance a heartbeat reports, and the longest distance, milliseconds (B-1). */
  measured: 16,
  measuredMaxMs: 60_000,
} as const;

/** Limits that servers alone check. They are apart, so that no page carries them. */
export const SERVER_LIMITS = {
  /** Longest `body` of an enrolment's request, bytes, and longest text in it, characters (E-2). */
  enrolBytes: 4 * 1024,
  enrolTextLength: 1024,
  /** Longest identifier of a device, command, group or gateway, characters (F-6). */
  idLength: 64,
  /** Capabilities a device may name, and how long each may be. */
  capabilities: 32,
  capabilityLength: 64,
  /** Longest body of a signed list of gateways, bytes (G-18). */
  gatewaysBytes: 32 * 1024,
  /** Body of a device's request for another key (K-6), bytes. */
  keyRotationBytes: 256,
  /** Deliver-by clock: the longest time a command may wait for its device, milliseconds (30 days). */
  ttlMaxMs: 30 * 86_400_000,
} as const;

/** What a device, command, group or gateway may be called (F-6). */
export const ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
