/**
 * A gateway that does what the test says: a real WebSocket server with the protocol's codec, and the
 * administration server's key to sign orders with. By default it admits whoever proves the device's key and
 * answers heartbeats.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import {
  type DeviceKey,
  type DeviceState,
  type GroupKey,
  MemoryStore,
  nodeCrypto,
} from '../../device/index.ts';
import {
  type CommandOrder,
  type DeviceMessage,
  decodeDeviceMessage,
  encodeArgs,
  encodeGatewayMessage,
  encodeOrderBody,
  encodePass,
  encryptSecret,
  type GatewayAddress,
  type GatewayMessage,
  type GatewaysOrder,
  type GroupKeyName,
  type MembershipOrder,
  type Order,
  type OrderBody,
  orderBytes,
  passBytes,
  proofBytes,
  type Result,
  SECRET_KEY_BYTES,
  type SignedPass,
  type SignedServerKeys,
  SUBPROTOCOL,
  sealedArgsBytes,
  sealedKeyBytes,
  WRAP_KEY_BYTES,
} from '../../protocol/index.ts';
import { type OpenedMessage, openMessage, resultMac } from '../results.ts';
import { newKeyPair, signedKeys } from '../server-keys.ts';
import { until } from './until.ts';

/** Lists made so far, by whatever gateway. */
let lists = 0;

export class Peer {
  readonly socket: WebSocket;
  readonly received: OpenedMessage[] = [];
  /** When each of `received` came, by the monotonic clock. */
  readonly times: number[] = [];
  closed: { code: number; reason: string } | null = null;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    socket.on('error', () => {});
  }

  send(message: GatewayMessage): void {
    this.socket.send(encodeGatewayMessage(message));
  }

  of<T extends OpenedMessage['t']>(t: T, id?: string): Extract<OpenedMessage, { t: T }>[] {
    return this.received.filter(
      (message) => message.t === t && (id === undefined || (message as { id?: string }).id === id),
    ) as Extract<OpenedMessage, { t: T }>[];
  }

  /** The first message of a kind, once it is there. */
  async first<T extends OpenedMessage['t']>(t: T, id?: string): Promise<Extract<OpenedMessage, { t: T }>> {
    return until(() => this.of(t, id)[0], `${t} ${id ?? ''}`);
  }
}

/** Signs the first server keys of devices. */
export const FIRST_ROOT = newKeyPair();

/** The document of server keys that devices of this signing key hold first. */
export function firstKeys({ publicKey }: DeviceKey): SignedServerKeys {
  return signedKeys(FIRST_ROOT, [1, 1], [publicKey]);
}

export class ScriptGateway {
  readonly name: string;
  readonly serverKey: DeviceKey;
  readonly deviceKey: DeviceKey;
  readonly deviceId = 'dev-1';
  /** What the device shares with its administration server. */
  readonly secret = new Uint8Array(32).fill(9);
  readonly peers: Peer[] = [];
  /** What `welcome` says; tests change it. */
  heartbeatMs = 60_000;
  /** The signed list that the device gets after `welcome`, in that order; none while it is empty. */
  gateways: GatewayAddress[] = [];
  time = () => Date.now();
  answerBeats = true;
  installation = 'i-test';
  /** Name given in the challenge, where it is to be another than `name`. */
  claimedName: string | undefined;
  /** Called instead of sending `welcome`. */
  onProve: ((peer: Peer) => void) | null = null;
  /** Answers the upgrade with 503 and this Retry-After, seconds. */
  refuse: number | null = null;
  /** Names of gateways that such a refusal says. */
  elsewhere: string[] = [];
  /** How `GET /probe` is answered, and how often it was asked. */
  probeStatus = 204;
  probeDelayMs = 0;
  probes = 0;
  proofs = 0;
  badProofs = 0;
  /** Results without the MAC that R-8 asks for. */
  badResults = 0;
  #session = 0;
  readonly #http: Server;
  readonly #ws: WebSocketServer;

  private constructor(name: string, serverKey: DeviceKey, deviceKey: DeviceKey) {
    this.name = name;
    this.serverKey = serverKey;
    this.deviceKey = deviceKey;
    this.#ws = new WebSocketServer({ noServer: true, handleProtocols: () => SUBPROTOCOL });
    this.#http = createServer((request, response) => this.#plain(request, response));
    this.#http.on('upgrade', (request, socket, head) => {
      if (this.refuse !== null) {
        let head503 = `HTTP/1.1 503 Service Unavailable\r\nRetry-After: ${this.refuse}\r\n`;
        const named = this.elsewhere.join(', ');
        if (named) head503 += `Pushpoint-Gateways: ${named}\r\n`;
        // A device that has read the refusal may reset the connection.
        socket.on('error', () => {});
        socket.end(`${head503}Content-Length: 0\r\n\r\n`);
        return;
      }
      this.#ws.handleUpgrade(request, socket, head, (ws) => this.#accept(new Peer(ws)));
    });
  }

  /** `like`: another gateway of the same system. */
  static async start(name = 'gw-1', like?: ScriptGateway): Promise<ScriptGateway> {
    const gateway = new ScriptGateway(
      name,
      like?.serverKey ?? (await nodeCrypto.generate()),
      like?.deviceKey ?? (await nodeCrypto.generate()),
    );
    gateway.#http.listen(0, '127.0.0.1');
    await once(gateway.#http, 'listening');
    return gateway;
  }

  get port(): number {
    return (this.#http.address() as AddressInfo).port;
  }

  get address(): GatewayAddress {
    return { name: this.name, url: `ws://127.0.0.1:${this.port}` };
  }

  get last(): Peer {
    const peer = this.peers.at(-1);
    if (!peer) throw new Error('nobody has connected');
    return peer;
  }

  /** The store of an enrolled device. */
  store(state: Partial<DeviceState> = {}): MemoryStore {
    return new MemoryStore(this.state(state));
  }

  state(state: Partial<DeviceState> = {}): DeviceState {
    return {
      key: this.deviceKey,
      identity: {
        deviceId: this.deviceId,
        secret: this.secret,
        generation: 1,
        server: 'http://127.0.0.1',
      },
      keys: firstKeys(this.serverKey),
      gateways: [this.address],
      ...state,
    };
  }

  /** State of a device that is in a group, and holds this list of it. */
  async member(gateways: GatewayAddress[], over: Partial<GatewaysOrder> = {}): Promise<Partial<DeviceState>> {
    const [membership, list] = [await this.order(this.#membership), await this.list(gateways, over)];
    return { membership, list };
  }

  /** The first of the device. */
  get #membership(): MembershipOrder {
    const target = { device: this.deviceId };
    const key = this.deviceKey.publicKey;
    const numbers = { epoch: 1, revision: 1, issuedAt: 1 };
    return { kind: 'membership', target, state: 'active', key, groups: ['root'], ...numbers };
  }

  /** A list of gateways (G-18) that is newer than all before it. */
  list(gateways: GatewayAddress[], over: Partial<GatewaysOrder> = {}, key = this.serverKey): Promise<Order> {
    const numbers = { epoch: 1, revision: ++lists, issuedAt: 1 };
    return this.order({ kind: 'gateways', target: { group: 'root' }, gateways, ...numbers, ...over }, key);
  }

  /** What a device needs to take this list. */
  async lists(peer: Peer, gateways: GatewayAddress[]): Promise<Order[]> {
    const [epoch] = peer.of('prove')[0]?.membership ?? [0];
    const list = await this.list(gateways);
    return epoch > 0 ? [list] : [await this.order(this.#membership), list];
  }

  /** Another list during a session. */
  async sendList(gateways: GatewayAddress[]): Promise<void> {
    const peer = this.last;
    for (const order of await this.lists(peer, gateways)) peer.send(order);
  }

  async order(body: OrderBody, key = this.serverKey): Promise<Order> {
    const bytes = encodeOrderBody(body);
    return { t: 'order', body: bytes, sig: await nodeCrypto.sign(key.privateKey, orderBytes(bytes)) };
  }

  command(id: string, over: Partial<CommandOrder> = {}): CommandOrder {
    const now = this.time();
    return {
      kind: 'command',
      id,
      type: 'sync',
      args: null,
      target: { device: this.deviceId },
      issuedAt: now,
      expiresAt: now + 60_000,
      timeoutMs: 60_000,
      ...over,
    };
  }

  async sendCommand(id: string, over: Partial<CommandOrder> = {}): Promise<void> {
    const peer = this.last;
    peer.send(await this.order(this.command(id, over)));
  }

  /** A secret command, sealed with this key of a group, or with the device's secret key. */
  async sendSecret(
    id: string,
    args: unknown,
    { by, ...over }: Partial<CommandOrder> & { by?: GroupKey } = {},
  ): Promise<void> {
    const about = sealedArgsBytes(id, by ?? { device: this.deviceId });
    const key = by?.key ?? (await nodeCrypto.mac(this.secret, SECRET_KEY_BYTES));
    const encrypted = await encryptSecret(nodeCrypto, key, encodeArgs(args), about);
    const { key: _, ...name } = by ?? { key: null };
    const sealed = { ...(by && { key: name as GroupKeyName }), ...encrypted };
    await this.sendCommand(id, { ...over, args: null, sealed });
  }

  /** The key of a group, as this device may read it. */
  async sendKey({ key, ...name }: GroupKey, device = this.deviceId): Promise<void> {
    const wrap = await nodeCrypto.mac(this.secret, WRAP_KEY_BYTES);
    const encrypted = await encryptSecret(nodeCrypto, wrap, key, sealedKeyBytes(device, name));
    this.last.send({ t: 'key', ...name, ...encrypted });
  }

  async sendCancel(id: string, expiresAt = this.time() + 60_000): Promise<void> {
    const target = { device: this.deviceId };
    this.last.send(await this.order({ kind: 'cancel', id, target, issuedAt: this.time(), expiresAt }));
  }

  async sendMembership(
    revision: number,
    groups: string[],
    epoch = 1,
    more: Partial<MembershipOrder> = {},
  ): Promise<void> {
    const target = { device: this.deviceId };
    const numbers = { epoch, revision, issuedAt: this.time() };
    const state = 'active' as const;
    const key = this.deviceKey.publicKey;
    this.last.send(await this.order({ kind: 'membership', target, state, key, groups, ...numbers, ...more }));
  }

  /** What vouches for it (S-9), as its `welcome` and an answer to who asks bring it; `null`: nothing. */
  passFor: { issuedAt: number; expiresAt: number } | null | undefined;

  async pass(): Promise<SignedPass | null> {
    if (this.passFor === null) return null;
    const times = this.passFor ?? { issuedAt: 1, expiresAt: this.time() + 86_400_000 };
    const body = encodePass({ gateway: this.name, ...times });
    return { body, sig: await nodeCrypto.sign(this.serverKey.privateKey, passBytes(body)) };
  }

  settle(id: string): void {
    this.last.send({ t: 'settled', id, state: 'succeeded' as 'unknown' });
  }

  /** A peer that was welcomed, the `count`th. */
  async session(count = 1): Promise<Peer> {
    await until(() => this.proofs >= count, `session ${count} on ${this.name}`);
    return this.last;
  }

  async stop(): Promise<void> {
    for (const peer of this.peers) peer.socket.terminate();
    this.#ws.close();
    this.#http.closeAllConnections();
    this.#http.close();
    await once(this.#http, 'close');
  }

  #made({ id, body, mac }: Result): boolean {
    const own = resultMac({ id: this.deviceId, secret: this.secret }, id, body);
    return Buffer.compare(own, mac) === 0;
  }

  #plain(request: IncomingMessage, response: ServerResponse): void {
    if (request.url === '/probe') {
      this.probes++;
      response.statusCode = this.probeStatus;
      response.setHeader('pushpoint-gateway', this.claimedName ?? this.name);
      setTimeout(() => response.end(), this.probeDelayMs);
      return;
    }
    response.statusCode = 426;
    response.end();
  }

  #accept(peer: Peer): void {
    this.peers.push(peer);
    const nonce = crypto.getRandomValues(new Uint8Array(32));
    const gateway = this.claimedName ?? this.name;
    peer.socket.on('message', (data) => {
      const message = decodeDeviceMessage(data as Buffer);
      if (!message) return;
      if (message.t === 'result' && !this.#made(message)) this.badResults++;
      peer.received.push(openMessage(message, { id: this.deviceId, secret: this.secret }));
      peer.times.push(performance.now());
      if (message.t === 'prove') void this.#prove(peer, nonce, gateway, message);
      if (message.t === 'beat' && this.answerBeats) peer.send({ t: 'beat', time: this.time() });
      if (message.t === 'beat' && message.pass) {
        void this.pass().then((pass) => pass && peer.send({ t: 'pass', ...pass }));
      }
    });
    peer.send({ t: 'challenge', nonce, gateway, installation: this.installation, time: this.time() });
  }

  async #prove(
    peer: Peer,
    nonce: Uint8Array,
    gateway: string,
    { device, sig }: Extract<DeviceMessage, { t: 'prove' }>,
  ): Promise<void> {
    if (!(await nodeCrypto.verify(this.deviceKey.publicKey, proofBytes(nonce, gateway, device), sig))) {
      this.badProofs++;
      peer.socket.close(4403);
      return;
    }
    if (this.onProve) {
      this.onProve(peer);
      return;
    }
    const { heartbeatMs } = this;
    const pass = await this.pass();
    const lists = this.gateways.length > 0 ? await this.lists(peer, this.gateways) : [];
    if (peer.closed) return;
    const session = ++this.#session;
    const gateways = this.gateways.map(({ name }) => name);
    peer.send({ t: 'welcome', session, time: this.time(), heartbeatMs, ...(pass && { pass }), gateways });
    for (const order of lists) peer.send(order);
    this.proofs++;
  }
}
