/**
 * The output of a command: results on stdout, everything else on stderr; tables for people or JSON for
 * programs.
 */
import type { Shell } from '../shell.ts';
import { onOneLine, printableJson } from './printable.ts';
import { NO_STYLE, type Style, styleFor } from './style.ts';
import { type Column, plain, renderTable } from './table.ts';

export class Output {
  readonly json: boolean;
  readonly style: Style;
  readonly #shell: Shell;

  constructor(shell: Shell, json: boolean) {
    this.#shell = shell;
    this.json = json;
    this.style = json ? NO_STYLE : styleFor(shell.stdout, shell.env);
  }

  get width(): number | undefined {
    return this.#shell.stdout.isTTY === true ? this.#shell.stdout.columns : undefined;
  }

  /** One line of the result. */
  line(text = ''): void {
    this.#shell.stdout.write(`${onOneLine(text)}\n`);
  }

  /** Not part of the result: notes, progress, warnings. */
  note(text: string): void {
    this.#shell.stderr.write(`${onOneLine(text)}\n`);
  }

  /** The whole result as one JSON document. */
  document(value: unknown): void {
    const indent = this.#shell.stdout.isTTY === true ? 2 : undefined;
    this.#shell.stdout.write(`${printableJson(JSON.stringify(value, null, indent))}\n`);
  }

  table<T>(columns: readonly Column<T>[], rows: readonly T[], whenEmpty: string): void {
    if (rows.length === 0) {
      this.note(whenEmpty);
      return;
    }
    for (const line of renderTable(columns, rows, { width: this.width, style: this.style })) this.line(line);
  }

  /** One object, a field per line; `null` shows as `-`. */
  fields(pairs: readonly (readonly [string, string | number | null | undefined])[]): void {
    const widest = Math.max(...pairs.map(([name]) => name.length));
    for (const [name, value] of pairs) {
      this.line(`${this.style.bold(name.padEnd(widest))}  ${plain(value)}`);
    }
  }
}
