/** On the way to the administration server: passes requests on, and answers some itself. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** `forward`: nothing is changed. `false`: this answer in place of the last one. `repeat`: an earlier one. */
export type Deceit = { is: 'forward' } | { is: 'false'; answer: object } | { is: 'repeat' };

export class FalseServer {
  readonly #honest: string;
  #server: Server | undefined;
  #deceit: Deceit = { is: 'forward' };
  #earlier: string | undefined;
  /** Answers it changed. */
  deceived = 0;

  constructor(honest: string) {
    this.#honest = honest;
  }

  /** Its URL. */
  async listen(): Promise<string> {
    const server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#server = server;
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  begin(deceit: Deceit): void {
    this.#deceit = deceit;
    this.deceived = 0;
  }

  close(): void {
    this.#server?.close();
    this.#server?.closeAllConnections();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts).toString();
    const headers = { 'content-type': 'application/json' };
    // The second question of the two (G-16): what is answered to it counts.
    const counts = request.url === '/v1/locate' && 'proof' in JSON.parse(body);
    const own = counts ? this.#own() : undefined;
    if (own !== undefined) {
      this.deceived++;
      response.writeHead(200, headers).end(own);
      return;
    }
    const honest = await fetch(this.#honest + request.url, { method: 'POST', headers, body });
    const text = await honest.text();
    if (counts && honest.ok) this.#earlier = text;
    response.writeHead(honest.status, headers).end(text);
  }

  #own(): string | undefined {
    if (this.#deceit.is === 'false') return JSON.stringify(this.#deceit.answer);
    return this.#deceit.is === 'repeat' ? this.#earlier : undefined;
  }
}
