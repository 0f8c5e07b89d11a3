/**
 * The destination of a program's log lines. A log that accepts nothing (a full disk, a pipe without a reader)
 * neither ends nor blocks the program: lines are kept while there is room, then dropped and counted, and the
 * log says how many once it accepts lines again.
 */
import { constants, fstatSync, openSync, writeSync } from 'node:fs';

/** Pause between attempts while a reader is behind, milliseconds. */
const AGAIN_MS = 50;
/** How long the end of the process waits for a reader that is behind, milliseconds. */
const LAST_WAIT_MS = 500;
const WARN = 40;

export class LogSink {
  readonly #fd: number;
  readonly #keepBytes: number;
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #dropped = 0;
  /** Dropped lines that the log has not reported yet. */
  #untold = 0;
  /** The last line was cut short: the next begins a line of its own. */
  #torn = false;
  #timer: NodeJS.Timeout | undefined;

  /** Keeps at most `keepBytes` for a reader that is behind. */
  constructor(fd: number, keepBytes = 1 << 20) {
    this.#fd = withoutWaiting(fd);
    this.#keepBytes = keepBytes;
    process.once('exit', () => this.#end());
  }

  /** Lines dropped since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#keptBytes + bytes.length > this.#keepBytes) {
      this.#drop();
      return;
    }
    this.#kept.push(bytes);
    this.#keptBytes += bytes.length;
    if (!this.#timer) this.#flush();
  }

  /** Until all is written or the reader is behind. */
  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#kept.length > 0) {
      if (!this.#writeFirst()) {
        this.#timer = setTimeout(() => this.#flush(), AGAIN_MS).unref();
        return;
      }
    }
  }

  /** `false` when the reader is behind; a line that cannot be written is dropped. */
  #writeFirst(): boolean {
    const line = this.#kept[0] as Buffer;
    const told = this.#untold;
    const preface = `${this.#torn ? '\n' : ''}${told > 0 ? droppedLine(told) : ''}`;
    const bytes = preface === '' ? line : Buffer.concat([Buffer.from(preface), line]);
    let done = 0;
    try {
      while (done < bytes.length) done += writeSync(this.#fd, bytes, done);
      this.#torn = false;
      this.#untold -= told;
    } catch (error) {
      if (done === 0 && (error as NodeJS.ErrnoException).code === 'EAGAIN') return false;
      if (done > 0) this.#torn = true;
      this.#drop();
    }
    this.#kept.shift();
    this.#keptBytes -= line.length;
    return true;
  }

  #end(): void {
    const until = performance.now() + LAST_WAIT_MS;
    const nothing = new Int32Array(new SharedArrayBuffer(4));
    for (;;) {
      this.#flush();
      clearTimeout(this.#timer);
      if (this.#kept.length === 0 || performance.now() > until) return;
      Atomics.wait(nothing, 0, 0, 10);
    }
  }

  #drop(): void {
    this.#dropped++;
    this.#untold++;
  }
}

function droppedLine(lines: number): string {
  const time = new Date().toISOString();
  const msg = 'lines of the log were dropped: there was no room for them';
  return `${JSON.stringify({ level: WARN, time, lines, msg })}\n`;
}

/**
 * The same pipe, opened so that writing never waits for its reader. Other programs may share the descriptor,
 * so it is opened again instead of changed; if that is impossible, it is used as it is.
 */
function withoutWaiting(fd: number): number {
  try {
    if (!fstatSync(fd).isFIFO()) return fd;
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return fd;
  }
}
