/** A leg made by hand, for what no honest end would say. */
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { TUNNEL_LIMITS, TUNNEL_PATH, TUNNEL_SUBPROTOCOL, type TunnelSide } from '../../protocol/index.ts';
import { SealingEnd } from '../tunnel/sealing.ts';
import { waitFor } from '../wait.ts';

export interface LegSaid {
  t: string;
  reason?: string;
  here?: boolean;
  pair?: number;
}

export class RawLeg {
  readonly socket: WebSocket;
  readonly said: LegSaid[] = [];
  readonly frames: Buffer[] = [];
  closeCode: number | null = null;
  /** Of the operator's end; without it messages are as they come. */
  #end: SealingEnd | null = null;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (data, isBinary) => {
      const message = data as Buffer;
      if (isBinary) this.frames.push(this.#end ? Buffer.from(this.#end.open(message)) : message);
      else this.said.push(JSON.parse(data.toString()) as LegSaid);
    });
    socket.on('close', (code) => {
      this.closeCode = code;
    });
    socket.on('error', () => {
      // The close code says it.
    });
  }

  static async dial(url: string): Promise<RawLeg> {
    const socket = new WebSocket(new URL(TUNNEL_PATH, url), TUNNEL_SUBPROTOCOL, { perMessageDeflate: false });
    const leg = new RawLeg(socket);
    await once(socket, 'open');
    return leg;
  }

  /** Dials and asks to be let in. With the tunnel's key, frames are sealed on their way. */
  static async join(
    url: string,
    {
      key,
      ...entry
    }: { tunnel: string; worker: number; ticket: string; side?: TunnelSide; key?: string | null },
  ): Promise<RawLeg> {
    const leg = await RawLeg.dial(url);
    if (key) leg.#end = new SealingEnd(Buffer.from(key, 'base64url'), 'operator');
    leg.say({ t: 'join', side: 'operator', ...entry });
    return leg;
  }

  say(message: object): void {
    this.socket.send(JSON.stringify(message));
  }

  send(frame: Uint8Array): void {
    this.socket.send(this.#end?.seal(frame) ?? frame);
  }

  /** What it was told, once it was. */
  told(t: string, holds: (message: LegSaid) => boolean = () => true): Promise<LegSaid> {
    return waitFor(() => this.said.find((message) => message.t === t && holds(message)), {
      what: `${t} to a leg`,
    });
  }

  closed(): Promise<number> {
    return waitFor(() => this.closeCode, { what: 'a leg to be closed' });
  }

  close(): void {
    this.socket.terminate();
  }
}

export function wrongTicket(): string {
  return 'A'.repeat(TUNNEL_LIMITS.secretLength);
}
