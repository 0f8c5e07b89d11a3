/** On the way to the administration server: passes requests on, changes them, and answers some itself. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Carried, ENROLMENTS, type Enrolment } from './false-enrolment.ts';

/**
 * `forward`: nothing is changed. `false`: this in the last answer, in place of the true. `repeat`: an earlier
 * one.
 * `enrol`: what becomes of a request to enrol.
 */
export type Deceit =
  | { is: 'forward' }
  | { is: 'false'; answer: object }
  | { is: 'repeat' }
  | { is: 'enrol'; how: Enrolment };

const JSON_TYPE = { 'content-type': 'application/json' };

export class FalseServer {
  readonly #honest: string;
  #server: Server | undefined;
  #deceit: Deceit = { is: 'forward' };
  #earlier: Carried | undefined;
  /** Answers it changed. */
  deceived = 0;
  /** Requests it changed, and that were granted. */
  granted = 0;

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
    this.granted = 0;
  }

  close(): void {
    this.#server?.close();
    this.#server?.closeAllConnections();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const asked = JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>;
    const { status, json } = await this.#carried(request.url ?? '', asked);
    response.writeHead(status, JSON_TYPE).end(JSON.stringify(json));
  }

  async #carried(path: string, asked: Record<string, unknown>): Promise<Carried> {
    const ask = async (json: object): Promise<Carried> => {
      const body = JSON.stringify(json);
      const answer = await fetch(this.#honest + path, { method: 'POST', headers: JSON_TYPE, body });
      return { status: answer.status, json: (await answer.json()) as Carried['json'] };
    };
    const enrols = path === '/v1/enroll';
    // The second question of the two (G-16): what is answered to it counts.
    if (!enrols && !(path === '/v1/locate' && 'proof' in asked)) return ask(asked);
    const own = await this.#own(enrols, asked, ask);
    if (own) {
      this.deceived++;
      return own;
    }
    this.#earlier = await ask(asked);
    return this.#earlier;
  }

  async #own(
    enrols: boolean,
    asked: Record<string, unknown>,
    ask: (json: object) => Promise<Carried>,
  ): Promise<Carried | undefined> {
    const deceit = this.#deceit;
    if (deceit.is === 'repeat') return this.#earlier;
    if (deceit.is === 'false' && !enrols) {
      const { status, json } = await ask(asked);
      return { status, json: { ...json, ...deceit.answer } };
    }
    if (deceit.is !== 'enrol' || !enrols) return undefined;
    const made = await ENROLMENTS[deceit.how](asked, async (json) => {
      const answer = await ask(json);
      if (json !== asked && answer.status === 201) this.granted++;
      return answer;
    });
    return made;
  }
}
