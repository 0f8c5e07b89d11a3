/**
 * A device for tests that does only what it is told: raw frames over a WebSocket, everything received kept in
 * order.
 */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { type RawData, WebSocket } from 'ws';
import type { DirectoryDevice, DirectoryList } from '../../bus/bus.ts';
import {
  type DeviceMessage,
  decodeGatewayMessage,
  decodeOrderBody,
  type Edition,
  encodeDeviceMessage,
  encodeGatewayMessage,
  encodeOrderBody,
  type GatewayAddress,
  type GatewayMessage,
  type GatewaysOrder,
  type Order,
  orderBytes,
  proofBytes,
  SUBPROTOCOL,
  type Welcome,
} from '../../protocol/index.ts';
import { newKeyPair, signedKeys } from '../server-keys.ts';
import { waitFor } from '../wait.ts';

export interface Identity {
  id: string;
  privateKey: KeyObject;
  publicKey: Uint8Array;
  /** From its enrolment; absent where nobody checks its results. */
  secret?: Uint8Array;
}

export function makeIdentity(id: string): Identity {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const { x } = publicKey.export({ format: 'jwk' });
  return { id, privateKey, publicKey: new Uint8Array(Buffer.from(x as string, 'base64url')) };
}

/** The administration server's key in tests of gateways. */
const SERVER = makeIdentity('server');
/** The root of its keys, and their first document. */
export const ROOT_KEY = newKeyPair();
export const SERVER_KEYS = signedKeys(ROOT_KEY, [1, 1], [SERVER.publicKey]);

/** The directory's entry for a device, as the administration server writes and signs it. */
export function directoryDevice(
  identity: Pick<Identity, 'id' | 'publicKey'>,
  groups: string[],
  more: Partial<DirectoryDevice> = {},
): DirectoryDevice {
  const [epoch, revision] = more.membershipEdition ?? [1, 1];
  const body = encodeOrderBody({
    kind: 'membership',
    target: { device: identity.id },
    state: 'active',
    key: identity.publicKey,
    groups,
    epoch,
    revision,
    issuedAt: 1,
  });
  return {
    id: identity.id,
    publicKey: identity.publicKey,
    state: 'active',
    groups,
    membership: encodeGatewayMessage({
      t: 'order',
      body,
      sig: sign(null, orderBytes(body), SERVER.privateKey),
    }),
    membershipEdition: [epoch, revision],
    ...more,
  };
}

/** The signed list of a group in the directory; `by`: another key than the administration server's. */
export function directoryList(
  group: string,
  gateways: readonly GatewayAddress[],
  [epoch, revision]: Edition = [1, 1],
  by = SERVER.privateKey,
): DirectoryList {
  const body = encodeOrderBody({
    kind: 'gateways',
    target: { group },
    epoch,
    revision,
    gateways: [...gateways],
    issuedAt: 1,
  });
  const sig = sign(null, orderBytes(body), by);
  return { group, frame: encodeGatewayMessage({ t: 'order', body, sig }) };
}

/** What an order says, if it is a list of gateways. */
export function listIn({ body }: Pick<Order, 'body'>): GatewaysOrder | null {
  const order = decodeOrderBody(body);
  return order?.kind === 'gateways' ? order : null;
}

export interface Closing {
  code: number;
  reason: string;
}

type MessageOf<T extends GatewayMessage['t']> = Extract<GatewayMessage, { t: T }>;

export class RawDevice {
  readonly socket: WebSocket;
  readonly received: GatewayMessage[] = [];
  /** Kinds of everything received, in order; `received` lacks what was taken. */
  readonly heard: GatewayMessage['t'][] = [];
  closing: Closing | null = null;
  /** Status and body of a refused upgrade. */
  refused: {
    status: number;
    retryAfter: string | undefined;
    /** The header `Pushpoint-Gateways` (C-5). */
    gateways: string | undefined;
    body: string;
  } | null = null;

  constructor(url: string, protocols: string[] = [SUBPROTOCOL]) {
    this.socket = new WebSocket(url, protocols, { perMessageDeflate: false });
    this.socket.on('message', (data: RawData) => {
      const message = decodeGatewayMessage(new Uint8Array(data as Buffer));
      if (message) this.received.push(message);
      if (message) this.heard.push(message.t);
    });
    this.socket.on('close', (code, reason) => {
      this.closing = { code, reason: reason.toString() };
    });
    this.socket.on('error', () => {
      // A refusal or a cut connection; 'close' follows.
    });
    this.socket.on('unexpected-response', (_request, response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () => {
        this.refused = {
          status: response.statusCode ?? 0,
          retryAfter: response.headers['retry-after'],
          gateways: response.headers['pushpoint-gateways'] as string | undefined,
          body: Buffer.concat(parts).toString(),
        };
        this.socket.terminate();
      });
    });
  }

  send(message: DeviceMessage): void {
    this.socket.send(encodeDeviceMessage(message));
  }

  sendBytes(bytes: Uint8Array): void {
    this.socket.send(bytes);
  }

  sendText(text: string): void {
    this.socket.send(text);
  }

  /** The first message of a kind that was not taken before; waits for it. */
  async take<T extends GatewayMessage['t']>(kind: T): Promise<MessageOf<T>> {
    const index = await waitFor(() => this.received.findIndex((message) => message.t === kind) + 1, {
      what: `a ${kind} (closed: ${JSON.stringify(this.closing)})`,
      timeoutMs: 5_000,
    });
    return this.received.splice(index - 1, 1)[0] as MessageOf<T>;
  }

  async closed(): Promise<Closing> {
    await waitFor(() => this.closing !== null, { what: 'the connection to be closed' });
    return this.closing as Closing;
  }

  async close(): Promise<void> {
    this.socket.close(1000);
    await this.closed();
  }
}

export interface ProveOptions {
  /** Signs as if for this gateway or nonce instead of those of the challenge. */
  gateway?: string;
  nonce?: Uint8Array;
  membership?: Edition;
  keys?: Edition;
  /** Of the list it holds; the newest that there can be when absent. */
  gateways?: Edition;
  name?: string;
  displaced?: boolean;
}

/** Waits for the challenge and answers it. */
export async function prove(
  device: RawDevice,
  identity: Identity,
  options: ProveOptions = {},
): Promise<void> {
  const challenge = await device.take('challenge');
  const nonce = options.nonce ?? challenge.nonce;
  const bytes = proofBytes(nonce, options.gateway ?? challenge.gateway, identity.id);
  device.send({
    t: 'prove',
    device: identity.id,
    sig: new Uint8Array(sign(null, bytes, identity.privateKey)),
    software: 'raw-device 1',
    caps: ['sync'],
    membership: options.membership ?? [1, 1],
    keys: options.keys ?? [1, 1],
    gateways: options.gateways ?? [1, Number.MAX_SAFE_INTEGER],
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.displaced ? { displaced: true as const } : {}),
  });
}

/** Connects and is welcomed. */
export async function connectDevice(
  url: string,
  identity: Identity,
  options: ProveOptions = {},
): Promise<{ device: RawDevice; session: number; welcome: Welcome }> {
  const device = new RawDevice(url);
  await prove(device, identity, options);
  const welcome = await device.take('welcome');
  return { device, session: welcome.session, welcome };
}
