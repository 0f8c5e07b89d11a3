/** The results: prints a line for each, and writes JSON. */
import { writeFileSync } from 'node:fs';

export interface Row {
  scenario: string;
  what: string;
  unit: string;
  /** `null`: a figure without a bound, or a quick run. */
  bound: number | null;
  /** `null`: it could not be measured. */
  figure: number | null;
  held: boolean | null;
}

export class Rows {
  readonly all: Row[] = [];
  readonly #file: string | undefined;
  readonly #print: (line: string) => void;

  /** Writes `file` again with every row, so that an interrupted run leaves its results. */
  constructor(
    file: string | undefined,
    print: (line: string) => void = (line) => process.stdout.write(`${line}\n`),
  ) {
    this.#file = file;
    this.#print = print;
  }

  add(row: Row): void {
    const figure = row.figure !== null && Number.isFinite(row.figure) ? round(row.figure) : null;
    this.all.push({ ...row, figure, held: figure === null && row.held !== null ? false : row.held });
    this.#print(line(this.all.at(-1) as Row));
    if (this.#file !== undefined)
      writeFileSync(this.#file, `${JSON.stringify({ rows: this.all }, null, 2)}\n`);
  }
}

function line({ scenario, what, unit, bound, figure, held }: Row): string {
  const verdict = held === null ? '' : held ? '  held' : '  MISSED';
  const against = bound === null ? '' : `  (bound ${bound})`;
  return (
    `${scenario.padEnd(9)} ${what.padEnd(62)} ${String(figure ?? '-').padStart(10)} ` +
    `${unit}${against}${verdict}`
  );
}

function round(figure: number): number {
  return Math.abs(figure) >= 1_000 ? Math.round(figure) : Number(figure.toPrecision(3));
}
