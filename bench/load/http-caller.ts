/** Sends POSTs at a given rate, on kept-alive connections with one request at a time. */
import { connect, type Socket } from 'node:net';

export interface HttpCallerOptions {
  port: number;
  path: string;
  token: string;
  /** Most connections, and so most requests at a time. */
  connections: number;
}

interface Call {
  body: string;
  /** Status 0: the connection ended before there was an answer. */
  answered: (status: number, body: string) => void;
}

export class HttpCaller {
  readonly #options: HttpCallerOptions;
  readonly #lines = new Set<Line>();
  /** Idle connections; the last used one is used first, so the server can close those that are not needed. */
  readonly #idle: Line[] = [];
  readonly #waiting: Call[] = [];
  #stopped = false;

  constructor(options: HttpCallerOptions) {
    this.#options = options;
  }

  /** Requests not answered yet. */
  get open(): number {
    return this.#waiting.length + this.#lines.size - this.#idle.length;
  }

  post(body: string, answered: Call['answered']): void {
    const call = { body, answered };
    const line = this.#idle.pop() ?? this.#another();
    if (line) line.send(call);
    else this.#waiting.push(call);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const line of this.#lines) line.end();
  }

  #another(): Line | undefined {
    if (this.#lines.size >= this.#options.connections) return undefined;
    const line: Line = new Line(this.#options, {
      free: () => this.#free(line),
      gone: () => this.#gone(line),
    });
    this.#lines.add(line);
    return line;
  }

  #free(line: Line): void {
    const next = this.#waiting.shift();
    if (next) line.send(next);
    else this.#idle.push(line);
  }

  #gone(line: Line): void {
    this.#lines.delete(line);
    const at = this.#idle.indexOf(line);
    if (at >= 0) this.#idle.splice(at, 1);
    const next = this.#stopped ? undefined : this.#waiting.shift();
    if (next) this.#another()?.send(next);
  }
}

interface LineHooks {
  /** The request was answered, and there is room for another. */
  free(): void;
  /** Closed, by whichever end. */
  gone(): void;
}

class Line {
  readonly #head: string;
  readonly #socket: Socket;
  readonly #hooks: LineHooks;
  #call: Call | null = null;
  #text = '';

  constructor({ port, path, token }: HttpCallerOptions, hooks: LineHooks) {
    this.#hooks = hooks;
    this.#head =
      `POST ${path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer ${token}\r\nContent-Type: ` +
      'application/json\r\n';
    let why = 'the connection was closed';
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#socket.setEncoding('latin1');
    this.#socket.on('data', (text: string) => this.#received(text));
    this.#socket.on('error', ({ message }) => {
      why = message;
    });
    this.#socket.on('close', () => {
      this.#answer(0, why);
      hooks.gone();
    });
  }

  send(call: Call): void {
    this.#call = call;
    this.#socket.write(`${this.#head}Content-Length: ${Buffer.byteLength(call.body)}\r\n\r\n${call.body}`);
  }

  end(): void {
    this.#socket.destroy();
  }

  #received(text: string): void {
    // The server may announce that it closes a connection that was idle for long.
    if (this.#call === null) return;
    this.#text += text;
    const head = this.#text.indexOf('\r\n\r\n');
    if (head < 0) return;
    const length = Number(this.#text.slice(0, head).match(/^content-length: (\d+)/im)?.[1] ?? 0);
    if (this.#text.length < head + 4 + length) return;
    const body = this.#text.slice(head + 4, head + 4 + length);
    const status = Number(this.#text.slice(9, 12));
    this.#text = '';
    this.#answer(status, body);
    this.#hooks.free();
  }

  #answer(status: number, body: string): void {
    const call = this.#call;
    this.#call = null;
    call?.answered(status, body);
  }
}
