/**
 * A device with good manners that joins any tunnel it is asked to, and leaves its leg to whoever asked for
 * the tunnel.
 */
import type { OpenedTunnelView } from '../../cli/api/views.ts';
import { nodeCrypto } from '../../device/index.ts';
import { decodeOrderBody, sealedTunnelBytes, WRAP_KEY_BYTES } from '../../protocol/index.ts';
import type { TunnelTicket } from '../../tunnel/index.ts';
import type { Operator } from '../e2e/operator.ts';
import { connectDevice, type Identity, type RawDevice } from '../gateway/raw-device.ts';
import type { KeyedTicket } from '../gateway/tunnel-rig.ts';
import { makeResult, NO_SECRET } from '../results.ts';
import { waitFor } from '../wait.ts';

const BEAT_MS = 10_000;
const LOOK_MS = 5;

export interface OpenedTunnel {
  id: string;
  operator: KeyedTicket;
  device: KeyedTicket;
}

type TunnelArgs = TunnelTicket & { key: string };

export class Carrier {
  readonly identity: Identity;
  readonly #socket: RawDevice;
  readonly #tickets = new Map<string, TunnelArgs>();
  readonly #timers: NodeJS.Timeout[] = [];

  private constructor(identity: Identity, socket: RawDevice) {
    this.identity = identity;
    this.#socket = socket;
    this.#timers.push(setInterval(() => this.#answer(), LOOK_MS));
    this.#timers.push(setInterval(() => socket.send({ t: 'beat' }), BEAT_MS));
  }

  static async start(url: string, identity: Identity): Promise<Carrier> {
    return new Carrier(identity, (await connectDevice(url, identity)).device);
  }

  /** Why its session ended, which it must not. */
  get lost(): string | null {
    const { closing } = this.#socket;
    return closing && `${closing.code} ${closing.reason}`;
  }

  /** Tickets for both ends. */
  async open({ api }: Operator): Promise<OpenedTunnel> {
    const body = { deviceId: this.identity.id, port: 22 };
    const { tunnel, join } = await api.request<OpenedTunnelView>('POST', '/v1/tunnels', { body });
    if (!join) throw new Error(`no tunnel: ${JSON.stringify(tunnel.end)}`);
    const args = await waitFor(() => this.#tickets.get(tunnel.id), { what: 'the ticket of the device' });
    this.#tickets.delete(tunnel.id);
    const { gateway, worker, ticket, key } = join;
    return {
      id: tunnel.id,
      operator: { tunnel: tunnel.id, gateway, worker, ticket, key: Buffer.from(key ?? '', 'base64url') },
      device: { ...args, key: await this.#keyOf(args) },
    };
  }

  /** T-15 */
  async #keyOf({ tunnel, key }: TunnelArgs): Promise<Uint8Array> {
    const { id, secret = NO_SECRET } = this.identity;
    const wrapped = Buffer.from(key, 'base64url');
    const wrapKey = await nodeCrypto.mac(secret, WRAP_KEY_BYTES);
    const about = sealedTunnelBytes(id, tunnel);
    return nodeCrypto.decrypt(wrapKey, wrapped.subarray(0, 12), about, wrapped.subarray(12));
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#socket.socket.terminate();
  }

  #answer(): void {
    for (const message of this.#socket.received.splice(0)) {
      if (message.t !== 'order') continue;
      const order = decodeOrderBody(message.body);
      if (order?.kind !== 'command') continue;
      if (order.type === 'tunnel.open') {
        const { tunnel, gateway, worker, ticket, key } = order.args as TunnelArgs;
        this.#tickets.set(tunnel, { tunnel, gateway, worker, ticket, key });
      }
      const data = order.type === 'tunnel.close' ? { wasOpen: false } : {};
      this.#socket.send(makeResult(this.identity, order.id, { state: 'succeeded', data }));
    }
  }
}
