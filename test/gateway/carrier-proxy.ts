/**
 * Sits between one leg of a tunnel and its gateway, as a gateway that was taken over would: it reads every
 * message, and changes what passes as it is told to.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocket as WebSocketClient, WebSocketServer } from 'ws';
import { TUNNEL_PATH, TUNNEL_SUBPROTOCOL } from '../../protocol/index.ts';

/** To the device, or to the operator. */
export type Way = 'down' | 'up';

/** What goes on in place of a message. */
export type Meddling = (message: Buffer, way: Way) => readonly Buffer[];

export class CarrierProxy {
  /** All binary messages that came, by way. */
  readonly seen: Record<Way, Buffer[]> = { down: [], up: [] };
  meddle: Meddling = (message) => [message];
  readonly #server: WebSocketServer;
  readonly #gateway: string;

  private constructor(server: WebSocketServer, gateway: string) {
    this.#server = server;
    this.#gateway = gateway;
    server.on('connection', (leg) => this.#carry(leg));
  }

  /** For the operator's leg to the gateway with this url. */
  static async start(gateway: string): Promise<CarrierProxy> {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
    await once(server, 'listening');
    return new CarrierProxy(server, gateway);
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  stop(): void {
    for (const leg of this.#server.clients) leg.terminate();
    this.#server.close();
  }

  #carry(leg: WebSocket): void {
    const gateway = new WebSocketClient(new URL(TUNNEL_PATH, this.#gateway), TUNNEL_SUBPROTOCOL, {
      perMessageDeflate: false,
    });
    const open = once(gateway, 'open');
    const pass = (way: Way, from: WebSocket, to: WebSocket) => {
      from.on('message', async (data: Buffer, isBinary: boolean) => {
        // Those that come before it is open keep their order.
        if (to.readyState === to.CONNECTING) await open;
        if (isBinary) this.seen[way].push(data);
        for (const each of isBinary ? this.meddle(data, way) : [data]) to.send(each, { binary: isBinary });
      });
      from.on('close', (code, reason) => {
        if (code === 1005 || code === 1006) to.terminate();
        else to.close(code, reason);
      });
      from.on('error', () => {
        // 'close' follows.
      });
    };
    pass('down', leg, gateway);
    pass('up', gateway, leg);
  }
}
