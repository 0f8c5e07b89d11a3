/** Tables for people: aligned columns, cut to the width of the terminal. */
import { onOneLine, printable } from './printable.ts';
import type { Style } from './style.ts';

export interface Column<T> {
  title: string;
  value: (row: T) => string | number | null | undefined;
  /** Numbers read better from the right. */
  align?: 'left' | 'right';
  /** Paints the padded cell; not called without colour. */
  paint?: (cell: string, row: T, style: Style) => string;
  /** Columns that may be cut when the terminal is narrow; without any, the widest is cut. */
  shrink?: boolean;
}

const GAP = '  ';
const MIN_SHRUNK = 8;

/**
 * Lines without a newline at their ends; `width` is in characters, `undefined` for no limit (pipes, files).
 */
export function renderTable<T>(
  columns: readonly Column<T>[],
  rows: readonly T[],
  options: { width?: number | undefined; style: Style },
): string[] {
  const cells = rows.map((row) => columns.map((column) => plain(column.value(row))));
  const widths = columns.map((column, index) =>
    cells.reduce((most, line) => Math.max(most, lengthOf(line[index] ?? '')), lengthOf(column.title)),
  );
  if (options.width !== undefined) shrink(columns, widths, options.width);

  const pad = (text: string, index: number): string => {
    const cut = cutTo(text, widths[index] ?? 0);
    const space = ' '.repeat((widths[index] ?? 0) - lengthOf(cut));
    return columns[index]?.align === 'right' ? space + cut : cut + space;
  };
  const heading = columns.map((column, index) => pad(column.title, index)).join(GAP);
  const lines = cells.map((line, rowIndex) =>
    line
      .map((text, index) => {
        const cell = pad(text, index);
        const { paint } = columns[index] as Column<T>;
        return paint === undefined ? cell : paint(cell, rows[rowIndex] as T, options.style);
      })
      .join(GAP)
      .trimEnd(),
  );
  return [options.style.bold(heading.trimEnd()), ...lines];
}

/** What devices and people name things may hold control characters; none of them reaches the terminal. */
export function plain(value: string | number | null | undefined): string {
  if (value === null || value === undefined || value === '') return '-';
  return onOneLine(printable(String(value)));
}

function lengthOf(text: string): number {
  return [...text].length;
}

function cutTo(text: string, width: number): string {
  const characters = [...text];
  if (characters.length <= width) return text;
  return width <= 1 ? characters.slice(0, width).join('') : `${characters.slice(0, width - 1).join('')}…`;
}

function shrink<T>(columns: readonly Column<T>[], widths: number[], width: number): void {
  const total = (): number =>
    widths.reduce((sum, each) => sum + each, 0) + GAP.length * Math.max(0, widths.length - 1);
  const narrow = (candidates: number[], floor: number): void => {
    while (total() > width) {
      const widest = candidates.reduce((best, index) =>
        (widths[index] ?? 0) > (widths[best] ?? 0) ? index : best,
      );
      if ((widths[widest] ?? 0) <= floor) return;
      widths[widest] = Math.max(floor, (widths[widest] ?? 0) - (total() - width));
    }
  };
  const all = columns.map((_, index) => index);
  const willing = all.filter((index) => columns[index]?.shrink === true);
  if (willing.length > 0) narrow(willing, MIN_SHRUNK);
  if (all.length > 0) narrow(all, 3);
}
