import { generatedFiles } from '../generated.ts';
import { readTrackedFiles } from './tracked-files.ts';

/** Columns of a line, in Unicode code points; biome.json and .editorconfig say the same. */
export const maxColumns = 110;

/** Files whose lines people neither write nor read. */
const exempt: readonly RegExp[] = [
  /(^|\/)package-lock\.json$/,
  /\.svg$/,
  // A Redis ACL file needs one line for each user.
  /^deploy\/redis\/users\.acl$/,
  // Grafana exports a dashboard with one line per query, and JSON cannot break a string.
  /^deploy\/grafana\/.*\.json$/,
  // Written by `npm run bench -- simulate`.
  /^bench\/simulation\/measured\.json$/,
];

/** Lines that have more columns than `maxColumns`, in any file that people write. */
export async function findLongLines(root: string): Promise<string[]> {
  const generated = new Set(generatedFiles.map(({ file }) => file));
  const problems: string[] = [];
  for (const [file, text] of await readTrackedFiles(root)) {
    if (generated.has(file) || exempt.some((pattern) => pattern.test(file))) continue;
    problems.push(...longLines(file, text));
  }
  return problems;
}

/**
 * The long lines of one file, except what cannot be broken: rows of Markdown tables, and lines that would fit
 * without their URL.
 */
export function longLines(file: string, text: string): string[] {
  const problems: string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const columns = countColumns(line);
    if (columns <= maxColumns) continue;
    if (file.endsWith('.md') && /^\s*\|/.test(line)) continue;
    if (countColumns(line.replace(/\bhttps?:\/\/[^\s'"`)>]+/g, '')) <= maxColumns) continue;
    problems.push(`${file}:${index + 1} has ${columns} columns`);
  }
  return problems;
}

function countColumns(line: string): number {
  return [...line].length;
}
