/** Colour, if the terminal supports it. */
import { control } from './printable.ts';

export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
}

const same = (text: string): string => text;
export const NO_STYLE: Style = { bold: same, dim: same, red: same, green: same, yellow: same };

const wrap =
  (open: number, close: number) =>
  (text: string): string =>
    `${control(`${open}m`)}${text}${control(`${close}m`)}`;
const ANSI_STYLE: Style = {
  bold: wrap(1, 22),
  dim: wrap(2, 22),
  red: wrap(31, 39),
  green: wrap(32, 39),
  yellow: wrap(33, 39),
};

/**
 * No colour outside a terminal, with NO_COLOR set to anything (https://no-color.org), or on a dumb terminal.
 */
export function styleFor(stream: { isTTY?: boolean | undefined }, env: NodeJS.ProcessEnv): Style {
  const wanted = stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';
  return wanted ? ANSI_STYLE : NO_STYLE;
}

/** The state of an execution, a device or a gateway, coloured by how good it is. */
export function paintState(cell: string, style: Style): string {
  switch (cell.trim()) {
    case 'succeeded':
    case 'connected':
    case 'up':
    case 'open':
      return style.green(cell);
    case 'failed':
    case 'rejected':
    case 'timed-out':
    case 'expired':
    case 'blocked':
    case 'problem':
    case 'down':
      return style.red(cell);
    case 'starting':
    case 'draining':
    case 'leaving':
    case 'canceled':
    case 'superseded':
    case 'running':
      return style.yellow(cell);
    default:
      return cell;
  }
}
