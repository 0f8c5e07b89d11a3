/**
 * Line charts as SVG, without a library: readable on light and dark pages, because lines are of middling
 * brightness and text follows the reader's scheme, or is readable on both where a viewer has none. The same
 * input gives the same bytes.
 */
export interface Line {
  name: string;
  points: readonly (readonly [x: number, y: number])[];
}

export interface Axis {
  title: string;
  scale: 'linear' | 'log';
  /** Ends of the axis; absent: those of the data. A logarithmic one is widened to powers of ten. */
  from?: number;
  to?: number;
  /** Where the lines of the grid are; absent: powers of ten, or round numbers. */
  marks?: readonly number[];
  format(value: number): string;
}

export interface Chart {
  title: string;
  x: Axis;
  y: Axis;
  lines: readonly Line[];
}

const SIZE = { width: 760, height: 420, left: 78, right: 46, top: 42, bottom: 92 };
/** Told apart by people who see colours differently, and 3:1 at least on white and on near black. */
const COLORS = ['#2f7ed8', '#d9622b', '#1f9d6b', '#a85fc9', '#9a8412', '#c74375'];
const DASHES = ['', '7 4', '2 3', '9 3 2 3', '12 4', '4 4'];

const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #757575 }
  .title { font-size: 15px; font-weight: 600 }
  .grid { stroke: #8884; stroke-width: 1 }
  .frame { stroke: #888; stroke-width: 1; fill: none }
  .line { fill: none; stroke-width: 2.2; stroke-linejoin: round }
  @media (prefers-color-scheme: light) { text { fill: #333 } }
  @media (prefers-color-scheme: dark) { text { fill: #ddd } }
`;

export function drawChart(chart: Chart): string {
  const { width, height, left, right, top, bottom } = SIZE;
  const x = project(chart.x, values(chart.lines, 0), left, width - right);
  const y = project(chart.y, values(chart.lines, 1), height - bottom, top);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" ` +
      `aria-label="${asText(chart.title)}">`,
    `<style>${STYLE}</style>`,
    `<text class="title" x="${left}" y="24">${asText(chart.title)}</text>`,
    ...x.ticks.map(
      ({ at, label }) =>
        `<path class="grid" d="M${at} ${top}V${height - bottom}"/><text x="${at}" ` +
        `y="${height - bottom + 18}" text-anchor="middle">${asText(label)}</text>`,
    ),
    ...y.ticks.map(
      ({ at, label }) =>
        `<path class="grid" d="M${left} ${at}H${width - right}"/><text x="${left - 8}" ` +
        `y="${round(at + 4)}" text-anchor="end">${asText(label)}</text>`,
    ),
    `<rect class="frame" x="${left}" y="${top}" width="${width - left - right}" ` +
      `height="${height - top - bottom}"/>`,
    `<text x="${round((left + width - right) / 2)}" y="${height - bottom + 40}" ` +
      `text-anchor="middle">${asText(chart.x.title)}</text>`,
    `<text x="16" y="${round((top + height - bottom) / 2)}" text-anchor="middle" transform="rotate(-90 ` +
      `16 ${round((top + height - bottom) / 2)})">${asText(chart.y.title)}</text>`,
    ...chart.lines.map((line, at) => {
      const path = line.points
        .map(([px, py], first) => `${first === 0 ? 'M' : 'L'}${x.place(px)} ${y.place(py)}`)
        .join('');
      return `<path class="line" ${look(at)} d="${path}"/>`;
    }),
    ...legend(chart.lines),
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}

function legend(lines: readonly Line[]): string[] {
  const columns = Math.min(lines.length, lines.some(({ name }) => name.length > 24) ? 2 : 3);
  const column = (SIZE.width - SIZE.left - SIZE.right) / columns;
  return lines.map(({ name }, at) => {
    const px = round(SIZE.left + (at % columns) * column);
    const py = SIZE.height - 32 + Math.floor(at / columns) * 20;
    return (
      `<path class="line" ${look(at)} d="M${px} ${py}h26"/><text x="${px + 32}" ` +
      `y="${py + 4}">${asText(name)}</text>`
    );
  });
}

const look = (at: number) => {
  const dashes = DASHES[at % DASHES.length];
  return `stroke="${COLORS[at % COLORS.length]}"${dashes ? ` stroke-dasharray="${dashes}"` : ''}`;
};

interface Projection {
  place(value: number): number;
  ticks: { at: number; label: string }[];
}

function project(axis: Axis, data: readonly number[], start: number, end: number): Projection {
  const log = axis.scale === 'log';
  let from = axis.from ?? Math.min(...data);
  let to = axis.to ?? Math.max(...data);
  if (log) {
    from = 10 ** Math.floor(Math.log10(from) + 1e-9);
    to = 10 ** Math.ceil(Math.log10(to) - 1e-9);
  }
  const of = log ? Math.log10 : (value: number) => value;
  const place = (value: number) => {
    const share = (of(Math.min(to, Math.max(from, value))) - of(from)) / (of(to) - of(from) || 1);
    return round(start + share * (end - start));
  };
  const marks =
    axis.marks?.filter((value) => value >= from && value <= to) ??
    (log ? powersOfTen(from, to) : evenMarks(from, to));
  return { place, ticks: marks.map((value) => ({ at: place(value), label: axis.format(value) })) };
}

function powersOfTen(from: number, to: number): number[] {
  const first = Math.round(Math.log10(from));
  return Array.from({ length: Math.round(Math.log10(to)) - first + 1 }, (_, at) => 10 ** (first + at));
}

/** Five or so round numbers. */
function evenMarks(from: number, to: number): number[] {
  const rough = (to - from) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((each) => each * power >= rough) ?? 10) * power;
  const marks: number[] = [];
  for (let value = Math.ceil(from / step) * step; value <= to + step * 1e-6; value += step) marks.push(value);
  return marks;
}

const values = (lines: readonly Line[], at: 0 | 1) =>
  lines.flatMap(({ points }) => points.map((point) => point[at]));
const round = (value: number) => Math.round(value * 10) / 10;
const asText = (text: string) => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
