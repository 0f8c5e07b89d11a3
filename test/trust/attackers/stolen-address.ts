/** What listens at the address of a stolen gateway, and says to devices whatever a script says. */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type RawData, WebSocket, WebSocketServer } from 'ws';
import {
  type Challenge,
  type DeviceMessage,
  decodeDeviceMessage,
  decodeGatewayMessage,
  encodeGatewayMessage,
  SUBPROTOCOL,
  type Welcome,
} from '../../../protocol/index.ts';

export interface Script {
  /** Where the challenge differs from what the gateway is. */
  challenge?: Partial<Pick<Challenge, 'gateway' | 'installation'>>;
  /** Refuses every connection, and names these gateways (C-5): the value of the header. */
  refuse?: string;
  /** Url of an honest gateway: its nonce is passed on in the challenge, and the proof to it. */
  relay?: string;
  /** Ends every connection at this point. */
  close?: { at: 'open' | 'challenge' | 'proof' | 'welcome'; code: number };
  welcome?: Partial<Welcome>;
  /** The time it tells is so much earlier than it is, milliseconds. */
  lateMs?: number;
  /** Frames between the proof and `welcome`, and right after `welcome`. */
  before?: Uint8Array[];
  after?: Uint8Array[];
}

/** All that came of it since the script began. */
export interface Heard {
  opened: number;
  closed: number;
  said: DeviceMessage[];
  /** Times that the honest gateway of `relay` welcomed the attacker in a device's place. */
  admitted: number;
}

export interface Identity {
  name: string;
  port: number;
  installation: string;
}

const HEARTBEAT_MS = 60_000;

export class StolenAddress {
  readonly #identity: Identity;
  readonly #sockets = new Set<WebSocket>();
  #server: Server | undefined;
  #script: Script = {};
  #heard = nothing();

  constructor(identity: Identity) {
    this.#identity = identity;
  }

  get heard(): Heard {
    return this.#heard;
  }

  get #now(): number {
    return Date.now() - (this.#script.lateMs ?? 0);
  }

  /** Whoever is connected is cut off: only the new script counts. */
  async listen(script: Script): Promise<void> {
    await this.close();
    this.#script = script;
    this.#heard = nothing();
    const server = createServer((_request, response) => {
      response.writeHead(204, { 'pushpoint-gateway': this.#identity.name }).end();
    });
    const sockets = new WebSocketServer({
      server,
      handleProtocols: () => SUBPROTOCOL,
      verifyClient: (_info, answer) => {
        const { refuse } = this.#script;
        if (refuse === undefined) return answer(true);
        this.#heard.closed++;
        answer(false, 503, '', { 'retry-after': '600', 'pushpoint-gateways': refuse });
      },
    });
    sockets.on('connection', (socket, request) => this.#connected(socket, request));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#identity.port, '127.0.0.1', resolve);
    });
    this.#server = server;
  }

  /** To every device that is connected. */
  say(frames: readonly Uint8Array[]): void {
    for (const socket of this.#sockets) for (const frame of frames) socket.send(frame);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.terminate();
    this.#sockets.clear();
    const server = this.#server;
    this.#server = undefined;
    if (server) await new Promise((resolve) => server.close(resolve));
  }

  #connected(socket: WebSocket, _request: IncomingMessage): void {
    const heard = this.#heard;
    heard.opened++;
    this.#sockets.add(socket);
    const honest = this.#script.relay === undefined ? null : new WebSocket(this.#script.relay, SUBPROTOCOL);
    honest?.on('error', () => {});
    socket.on('error', () => {});
    socket.on('close', () => {
      heard.closed++;
      this.#sockets.delete(socket);
      honest?.terminate();
    });
    if (this.#ends(socket, 'open')) return;
    socket.on('message', (data: RawData) => this.#said(socket, honest, new Uint8Array(data as Buffer)));
    if (!honest) {
      this.#challenge(socket, new Uint8Array(randomBytes(32)));
      return;
    }
    honest.on('message', (data: RawData) => {
      const message = decodeGatewayMessage(new Uint8Array(data as Buffer));
      if (message?.t === 'challenge') this.#challenge(socket, message.nonce);
      if (message?.t === 'welcome') heard.admitted++;
    });
    honest.on('close', () => socket.terminate());
  }

  #challenge(socket: WebSocket, nonce: Uint8Array): void {
    const { name, installation } = this.#identity;
    const own = { gateway: name, installation, ...this.#script.challenge };
    socket.send(encodeGatewayMessage({ t: 'challenge', nonce, time: this.#now, ...own }));
    this.#ends(socket, 'challenge');
  }

  #said(socket: WebSocket, honest: WebSocket | null, frame: Uint8Array): void {
    const message = decodeDeviceMessage(frame);
    if (!message) return;
    this.#heard.said.push(message);
    if (message.t === 'beat') socket.send(encodeGatewayMessage({ t: 'beat', time: this.#now }));
    if (message.t !== 'prove') return;
    if (honest) {
      honest.send(frame);
      return;
    }
    const { before = [], after = [], welcome } = this.#script;
    for (const more of before) socket.send(more);
    if (this.#ends(socket, 'proof')) return;
    const time = this.#now;
    const usual = { session: time * 1_000, time, heartbeatMs: HEARTBEAT_MS, gateways: [] };
    socket.send(encodeGatewayMessage({ t: 'welcome', ...usual, ...welcome }));
    for (const more of after) socket.send(more);
    this.#ends(socket, 'welcome');
  }

  #ends(socket: WebSocket, at: NonNullable<Script['close']>['at']): boolean {
    const { close } = this.#script;
    if (close?.at !== at) return false;
    socket.close(close.code, 'says the attacker');
    return true;
  }
}

function nothing(): Heard {
  return { opened: 0, closed: 0, said: [], admitted: 0 };
}
