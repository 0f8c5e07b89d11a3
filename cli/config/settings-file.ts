/** The YAML file as pairs of key, value and the place where each stands. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const MAX_FILE_BYTES = 1024 * 1024;

export interface FileSetting {
  key: string;
  value: unknown;
  /** `path:line`. */
  place: string;
}

/** Reads the file; faults of the file as a whole go to `problems`. */
export function readSettingsFile(path: string, problems: string[]): FileSetting[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    problems.push(`${path}: cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`);
    return [];
  }
  if (Buffer.byteLength(text) > MAX_FILE_BYTES) {
    problems.push(`${path}: larger than ${MAX_FILE_BYTES} bytes`);
    return [];
  }
  // Loaded only for a file: most commands of operators have none.
  const { isMap, isScalar, LineCounter, parseDocument } = createRequire(import.meta.url)(
    'yaml',
  ) as typeof import('yaml');
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  for (const error of document.errors) {
    problems.push(`${path}:${lines.linePos(error.pos[0]).line}: not valid YAML: ${error.message}`);
  }
  if (document.errors.length > 0 || document.contents === null) return [];
  if (!isMap(document.contents)) {
    problems.push(`${path}: must be a map of settings, one \`name: value\` a line`);
    return [];
  }
  return document.contents.items.map((pair) => {
    const key = isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
    const at = isScalar(pair.key) ? (pair.key.range?.[0] ?? 0) : 0;
    const value = (pair.value as { toJS?: (doc: unknown) => unknown } | null)?.toJS?.(document) ?? null;
    return { key, value, place: `${path}:${lines.linePos(at).line}` };
  });
}
