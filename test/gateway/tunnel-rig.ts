/** Tunnels through a gateway worker: grants as the administration server makes them, and the two ends. */
import { createHash, randomBytes } from 'node:crypto';
import { WebSocket } from 'ws';
import type { TunnelGrant } from '../../bus/bus.ts';
import { wsLegDial } from '../../device/index.ts';
import { nodeFrameCipher } from '../../device/platform/frame-cipher-node.ts';
import {
  decodeLegGatewayMessage,
  type LegGatewayMessage,
  type LegMessage,
  TUNNEL_PATH,
  TUNNEL_SUBPROTOCOL,
  type TunnelSide,
} from '../../protocol/index.ts';
import {
  type LegTimes,
  Tunnel,
  type TunnelParts,
  type TunnelStream,
  type TunnelTicket,
} from '../../tunnel/index.ts';
import { waitFor } from '../wait.ts';
import type { Rig } from './rig.ts';

let lastId = 0;

/** A ticket with the tunnel's key. */
export type KeyedTicket = TunnelTicket & { key: Uint8Array };

export interface Granted {
  grant: TunnelGrant;
  operator: KeyedTicket;
  device: KeyedTicket;
}

export function makeGrant(url: string, more: Partial<TunnelGrant> = {}, worker = 0): Granted {
  const operator = randomBytes(32).toString('base64url');
  const device = randomBytes(32).toString('base64url');
  const grant: TunnelGrant = {
    id: `tun-${++lastId}`,
    device: 'device-1',
    host: '127.0.0.1',
    port: 22,
    operatorHash: createHash('sha256').update(operator).digest(),
    deviceHash: createHash('sha256').update(device).digest(),
    joinBy: Date.now() + 60_000,
    idleMs: 600_000,
    lifeMs: 3_600_000,
    maxBytes: 0,
    ...more,
  };
  const ticket = { tunnel: grant.id, gateway: { name: 'gw1', url }, worker, key: randomBytes(32) };
  return { grant, operator: { ...ticket, ticket: operator }, device: { ...ticket, ticket: device } };
}

/** Makes a grant and gives it to the rig's worker. */
export async function granted(rig: Rig, more: Partial<TunnelGrant> = {}): Promise<Granted> {
  const made = makeGrant(rig.url, more);
  await rig.bus.inner.outboxes.append(await rig.incarnation(), [{ devices: [], tunnel: made.grant }]);
  return made;
}

export interface End {
  tunnel: Tunnel;
  /** Why it ended. */
  ended: string[];
  moving: number;
  dropped: number;
}

export function makeEnd(
  side: TunnelSide,
  ticket: KeyedTicket,
  more: Partial<TunnelParts> = {},
  times: Partial<LegTimes> = {},
): End {
  const end: End = { tunnel: null as unknown as Tunnel, ended: [], moving: 0, dropped: 0 };
  end.tunnel = new Tunnel(
    ticket,
    {
      side,
      dial: wsLegDial(),
      cipher: nodeFrameCipher(ticket.key, side),
      allocate: Buffer.allocUnsafeSlow,
      times,
      ...more,
    },
    {
      ended: (reason) => end.ended.push(reason),
      moving: () => end.moving++,
      dropped: () => end.dropped++,
    },
  );
  return end;
}

/** A leg that does only what it is told. */
export class RawLeg {
  readonly socket: WebSocket;
  readonly texts: LegGatewayMessage[] = [];
  readonly frames: Buffer[] = [];
  closing: { code: number; reason: string } | null = null;

  constructor(url: string) {
    this.socket = new WebSocket(new URL(TUNNEL_PATH, url), TUNNEL_SUBPROTOCOL, { perMessageDeflate: false });
    this.socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) this.frames.push(data);
      else {
        const message = decodeLegGatewayMessage(data.toString());
        if (message) this.texts.push(message);
      }
    });
    this.socket.on('close', (code, reason) => {
      this.closing = { code, reason: reason.toString() };
    });
    this.socket.on('error', () => {
      // 'close' follows.
    });
  }

  async open(): Promise<this> {
    await waitFor(() => this.socket.readyState === WebSocket.OPEN, { what: 'a leg to open' });
    return this;
  }

  say(message: LegMessage): void {
    this.socket.send(JSON.stringify(message));
  }

  join(side: TunnelSide, { tunnel, worker, ticket }: TunnelTicket): void {
    this.say({ t: 'join', tunnel, worker, side, ticket });
  }

  resume(side: TunnelSide, { tunnel, worker }: TunnelTicket, secret: string): void {
    this.say({ t: 'resume', tunnel, worker, side, secret });
  }

  async take<T extends LegGatewayMessage['t']>(kind: T): Promise<Extract<LegGatewayMessage, { t: T }>> {
    const index = await waitFor(() => this.texts.findIndex(({ t }) => t === kind) + 1, {
      what: `a ${kind} (closed: ${JSON.stringify(this.closing)})`,
    });
    return this.texts.splice(index - 1, 1)[0] as Extract<LegGatewayMessage, { t: T }>;
  }

  async closed(): Promise<{ code: number; reason: string }> {
    await waitFor(() => this.closing !== null, { what: 'the leg to be closed' });
    return this.closing as { code: number; reason: string };
  }

  close(): void {
    this.socket.terminate();
  }
}

/** A stream to port 22 of the device that keeps what comes back in `got`. */
export function openCollecting(tunnel: Tunnel): { stream: TunnelStream; got: Buffer[] } {
  const got: Buffer[] = [];
  const stream = tunnel.open({ host: '127.0.0.1', port: 22 }, (own) => ({
    data: (part) => {
      got.push(Buffer.from(part));
      own.consumed(part.length);
    },
    end: () => {},
    writable: () => {},
    closed: () => {},
  }));
  return { stream, got };
}
