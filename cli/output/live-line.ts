/**
 * Progress on stderr: one line that rewrites itself on a terminal, and elsewhere a plain line whenever the
 * text changed, at most one a second.
 */
import type { Shell } from '../shell.ts';
import { control } from './printable.ts';
import { plain } from './table.ts';

const PLAIN_INTERVAL_MS = 1_000;

export class LiveLine {
  readonly #stream: Shell['stderr'];
  #shown = '';
  #pending = '';
  #lastPlainAt = 0;

  constructor(shell: Shell) {
    this.#stream = shell.stderr;
  }

  update(text: string): void {
    const line = plain(text);
    if (line === this.#shown) return;
    if (this.#stream.isTTY === true) {
      this.#shown = line;
      const cut = [...line].slice(0, Math.max(10, (this.#stream.columns ?? 80) - 1)).join('');
      this.#stream.write(`${control('1G')}${control('2K')}${cut}`);
      return;
    }
    this.#pending = line;
    if (Date.now() - this.#lastPlainAt >= PLAIN_INTERVAL_MS) this.#flush();
  }

  /** Keeps the last text and ends the line. */
  end(): void {
    if (this.#stream.isTTY === true) {
      if (this.#shown !== '') this.#stream.write('\n');
    } else if (this.#pending !== this.#shown) {
      this.#flush();
    }
    this.#shown = '';
    this.#pending = '';
  }

  #flush(): void {
    this.#shown = this.#pending;
    this.#lastPlainAt = Date.now();
    this.#stream.write(`${this.#shown}\n`);
  }
}
