import { posix } from 'node:path';

export interface Import {
  /** As written: `../bus/bus.ts`, `node:fs`, `pg`. */
  specifier: string;
  line: number;
}

// Biome formats all sources: statements start in the first column, with single quotes and semicolons. So
// regular expressions suffice. An import that they cannot read is reported as a problem.
const patterns = [
  /^(?:import|export)\b[^'";]*?\bfrom '([^'\n]+)'/gm,
  /^import '([^'\n]+)'/gm,
  /\b(?:import|require|require\.resolve)\(\s*'([^'\n]+)'/g,
];

/** All modules a source names: imports and re-exports, types included, `import()` and `require()`. */
export function parseImports(source: string): Import[] {
  const found = patterns.flatMap((pattern) =>
    [...source.matchAll(pattern)].map((match) => ({
      specifier: match[1] ?? '',
      line: lineOf(source, match.index),
    })),
  );
  return found.sort((a, b) => a.line - b.line);
}

/** Lines with an import that `parseImports` cannot read. */
export function unreadableImports(source: string): number[] {
  const computed = [...source.matchAll(/(?<![\w.'"`])(?:import|require)\((?!\s*'[^'\n]+'\s*[,)])(?!\))/g)];
  const statements = [...source.matchAll(/^import\b(?!\.meta|\()(?![^'";]*?\bfrom '[^'\n]+'| '[^'\n]+')/gm)];
  return [...computed, ...statements].map((match) => lineOf(source, match.index)).sort((a, b) => a - b);
}

/** For every file: which of our files it imports, with lines. */
export type ImportGraph = Map<string, { target: string; line: number }[]>;

/** Also reports relative imports that lead nowhere, and unreadable ones. */
export function buildGraph(sources: ReadonlyMap<string, string>): { graph: ImportGraph; problems: string[] } {
  const graph: ImportGraph = new Map();
  const problems: string[] = [];
  for (const [file, source] of sources) {
    const targets: { target: string; line: number }[] = [];
    for (const { specifier, line } of parseImports(source)) {
      if (!specifier.startsWith('.')) continue;
      const target = posix.normalize(posix.join(posix.dirname(file), specifier));
      if (sources.has(target)) targets.push({ target, line });
      else if (!target.endsWith('.json'))
        problems.push(`${file}:${line} imports ${specifier}, which is no source of ours`);
    }
    // Tests may load modules whose path they compute.
    if (!file.startsWith('test/')) {
      problems.push(
        ...unreadableImports(source).map(
          (line) => `${file}:${line} imports something this checker cannot read`,
        ),
      );
    }
    graph.set(file, targets);
  }
  return { graph, problems };
}

function lineOf(source: string, index: number): number {
  return source.slice(0, index).split('\n').length;
}
