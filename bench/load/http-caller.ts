/** POSTs at a rate, on kept-alive connections with one request each at a time: as little of HTTP as that takes. */
import { connect, type Socket } from 'node:net';

export interface HttpCallerOptions {
  port: number;
  path: string;
  token: string;
  /** Connections, and so requests under way at once. */
  connections: number;
}

interface Call {
  body: string;
  answered: (status: number, body: string) => void;
}

export class HttpCaller {
  readonly #options: HttpCallerOptions;
  readonly #lines: Line[];
  readonly #waiting: Call[] = [];
  #stopped = false;

  constructor(options: HttpCallerOptions) {
    this.#options = options;
    this.#lines = Array.from({ length: options.connections }, () => this.#line());
  }

  /** Requests not answered yet. */
  get open(): number {
    return this.#waiting.length + this.#lines.filter((line) => line.call !== null).length;
  }

  post(body: string, answered: Call['answered']): void {
    const call = { body, answered };
    const line = this.#lines.find((idle) => idle.call === null);
    if (line) line.send(call);
    else this.#waiting.push(call);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const line of this.#lines) line.end();
  }

  #line(): Line {
    return new Line(this.#options, (line) => {
      const next = this.#stopped ? undefined : this.#waiting.shift();
      if (next) line.send(next);
    });
  }
}

class Line {
  call: Call | null = null;
  readonly #head: string;
  readonly #socket: Socket;
  readonly #idle: (line: Line) => void;
  #text = '';

  constructor({ port, path, token }: HttpCallerOptions, idle: (line: Line) => void) {
    this.#idle = idle;
    this.#head = `POST ${path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\n`;
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#socket.setEncoding('latin1');
    this.#socket.on('data', (text: string) => this.#received(text));
    this.#socket.on('error', () => this.#answer(0, 'the connection failed'));
    this.#socket.on('close', () => this.#answer(0, 'the connection was closed'));
  }

  send(call: Call): void {
    this.call = call;
    this.#socket.write(`${this.#head}Content-Length: ${Buffer.byteLength(call.body)}\r\n\r\n${call.body}`);
  }

  end(): void {
    this.#socket.destroy();
  }

  #received(text: string): void {
    this.#text += text;
    const head = this.#text.indexOf('\r\n\r\n');
    if (head < 0) return;
    const length = Number(this.#text.slice(0, head).match(/^content-length: (\d+)/im)?.[1] ?? 0);
    if (this.#text.length < head + 4 + length) return;
    const body = this.#text.slice(head + 4, head + 4 + length);
    const status = Number(this.#text.slice(9, 12));
    this.#text = '';
    this.#answer(status, body);
  }

  #answer(status: number, body: string): void {
    const { call } = this;
    this.call = null;
    call?.answered(status, body);
    if (status !== 0) this.#idle(this);
  }
}
