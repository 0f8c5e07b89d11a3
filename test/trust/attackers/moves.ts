/** What an attacker can do with what was stolen. Runs in the attacker's own process. */
import { Redis } from 'ioredis';
import { type RawData, WebSocket } from 'ws';
import type { Leases, Receipt, WorkerIdentity, WorkerLoad } from '../../../bus/bus.ts';
import { encode } from '../../../bus/encoding.ts';
import { keysWith } from '../../../bus/redis/keys.ts';
import { makeEntryMac } from '../../../bus/redis/macs/entry-mac.ts';
import { RedisBus } from '../../../bus/redis/redis-bus.ts';
import type { GatewayIdentity } from '../../../gateway/joining/identity.ts';
import { IdentityFiles } from '../../../gateway/joining/identity-files.ts';
import { decodeGatewayMessage, type GatewayMessage, SUBPROTOCOL } from '../../../protocol/index.ts';
import { type Entered, type Entry, enterTunnel } from '../enter-tunnel.ts';
import { type Deceit, FalseServer } from './false-server.ts';
import type { JoinMoves, JoinOutcome, LeftRequest } from './join-moves.ts';
import { type Heard, type Identity, type Script, StolenAddress } from './stolen-address.ts';
import { Tap } from './tap.ts';

/** All that an attacker has. */
export interface Loot {
  redisUrl?: string;
  /** The files of this gateway, which runs no more: the attacker listens at its address. */
  gateway?: Identity & { folder: string };
  /** Base URL of the administration server, to which the attacker sits on the way. */
  server?: string;
}

export class Moves {
  readonly #redis: Redis | null;
  /** What the stolen gateway is known by. */
  readonly #identity: GatewayIdentity | null;
  readonly #address: StolenAddress | null;
  readonly #server: FalseServer | null;
  readonly #redisUrl: string;
  #batches = 0;
  #knocking: WebSocket | undefined;
  #tap: Tap | undefined;

  constructor({ redisUrl, gateway, server }: Loot) {
    this.#redisUrl = redisUrl ?? '';
    this.#redis = redisUrl === undefined ? null : new Redis(redisUrl);
    this.#identity = gateway ? new IdentityFiles(gateway.folder).read() : null;
    this.#address = gateway ? new StolenAddress(gateway) : null;
    this.#server = server === undefined ? null : new FalseServer(server);
  }

  /** Any command; text in the answer comes as bytes. */
  async redis(command: string, ...args: (string | number | Uint8Array)[]): Promise<unknown> {
    const sent = args.map((each) => (each instanceof Uint8Array ? Buffer.from(each) : each));
    return had(this.#redis).callBuffer(command, ...sent);
  }

  /** Appends receipts, with a MAC if the attacker can make one; `id`: of the entry. */
  async report(stream: string, installation: string, receipts: readonly Receipt[], id = '*'): Promise<void> {
    const batch = encode(receipts);
    const own = this.#identity;
    const subject = own && {
      gateway: own.gateway,
      serial: own.serial,
      sender: 'attacker',
      number: ++this.#batches,
    };
    const mac = own && subject ? makeEntryMac(own.macKey, 'receipts', subject, [batch]) : '';
    await this.redis('XADD', stream, id, 'b', batch, 'i', installation, 's', mac);
  }

  /** Registers as a worker of a gateway, with MACs if the attacker can make them; the incarnation. */
  async register(identity: WorkerIdentity, load: WorkerLoad): Promise<string> {
    return this.#leased((leases) => leases.acquire(identity, load, 60_000));
  }

  async unregister(incarnation: string): Promise<void> {
    await this.#leased((leases) => leases.release(incarnation));
  }

  async #leased<T>(work: (leases: Leases) => Promise<T>): Promise<T> {
    const own = this.#identity;
    const bus = new RedisBus({ url: this.#redisUrl, ...(own && { credentials: () => own }) });
    await bus.start();
    try {
      return await work(bus.leases);
    } finally {
      await bus.stop();
    }
  }

  /** Asks to be let in under this name with a join token. */
  async join(gateway: string, token: string): Promise<JoinOutcome> {
    return (await this.#joins()).byToken(gateway, token);
  }

  /** Asks for a new certificate with the one that it has; under another name, if there is one. */
  async renew(gateway?: string): Promise<JoinOutcome> {
    return (await this.#joins()).renewal(had(this.#identity), gateway);
  }

  /** Leaves this request with the token once more, to have the secrets in the answer sealed to itself. */
  async reseal(left: LeftRequest, token: string): Promise<JoinOutcome> {
    return (await this.#joins()).resealed(left, token);
  }

  /** The next request to join that somebody leaves. */
  async requestToJoin(): Promise<LeftRequest> {
    return (await this.#joins()).left();
  }

  /** Leaves such a request once more. */
  async joinAgain(left: LeftRequest): Promise<JoinOutcome> {
    return (await this.#joins()).ask(left);
  }

  /** Answers the next program that asks to join, in the place of the administration server. */
  async answerJoin(): Promise<void> {
    await (await this.#joins()).answer();
  }

  /** Loaded by those who join only: it is a lot. */
  async #joins(): Promise<JoinMoves> {
    const { JoinMoves } = await import('./join-moves.ts');
    return new JoinMoves(had(this.#redis), keysWith('pp', false));
  }

  /** Serves devices at the stolen gateway's address from now on. */
  async listen(script: Script): Promise<void> {
    await had(this.#address).listen(script);
  }

  async say(frames: readonly Uint8Array[]): Promise<void> {
    had(this.#address).say(frames);
  }

  async heard(): Promise<Heard> {
    return had(this.#address).heard;
  }

  async close(): Promise<void> {
    await this.leave();
    await this.#address?.close();
    this.#server?.close();
    this.#tap?.close();
  }

  /** Connects to a gateway as a device does; the nonce of its challenge. */
  async knock(url: string): Promise<Uint8Array> {
    const socket = new WebSocket(url, SUBPROTOCOL);
    this.#knocking = socket;
    const message = await first(socket, 'challenge');
    if (message === null) throw new Error('no challenge');
    return message.nonce;
  }

  /** Sends a proof to that gateway; whether it admits the sender, who stays until it leaves. */
  async prove(frame: Uint8Array): Promise<boolean> {
    const socket = had(this.#knocking ?? null);
    const welcome = first(socket, 'welcome');
    socket.send(frame);
    return (await welcome) !== null;
  }

  /** Whether the sender of the last proof is still connected. */
  async isIn(): Promise<boolean> {
    return this.#knocking?.readyState === WebSocket.OPEN;
  }

  async leave(): Promise<void> {
    this.#knocking?.terminate();
  }

  /** Sits before a port that was its own; the port to dial instead. */
  async tap(port: number): Promise<number> {
    this.#tap = new Tap();
    return this.#tap.listen(port);
  }

  /** Whether this text passed there as it is. */
  async tapped(text: string): Promise<boolean> {
    return this.#tap?.has(text) ?? false;
  }

  async tappedBytes(): Promise<number> {
    return this.#tap?.bytes ?? 0;
  }

  /** Enters a tunnel as its operator. */
  async enter(entry: Entry): Promise<Entered> {
    return enterTunnel(entry);
  }

  /** The URL at which devices find the attacker in place of the administration server. */
  async waylay(): Promise<string> {
    return had(this.#server).listen();
  }

  async deceive(deceit: Deceit): Promise<void> {
    had(this.#server).begin(deceit);
  }

  /** Answers that were not the server's, or to other questions than were asked, since then. */
  async deceived(): Promise<number> {
    return had(this.#server).deceived;
  }

  /** Requests of its own making that the server granted since then. */
  async granted(): Promise<number> {
    return had(this.#server).granted;
  }
}

/** The first message of this kind; `null`: the connection ended instead. */
function first<T extends GatewayMessage['t']>(
  socket: WebSocket,
  kind: T,
): Promise<Extract<GatewayMessage, { t: T }> | null> {
  return new Promise((resolve) => {
    socket.on('message', (data: RawData) => {
      const message = decodeGatewayMessage(new Uint8Array(data as Buffer));
      if (message?.t === kind) resolve(message as Extract<GatewayMessage, { t: T }>);
    });
    socket.on('error', () => resolve(null));
    socket.on('close', () => resolve(null));
  });
}

function had<T>(loot: T | null): T {
  if (loot === null) throw new Error('this attacker has nothing of the kind');
  return loot;
}
