import { buildGraph, type ImportGraph, parseImports } from './imports.ts';
import { areas, readSources } from './sources.ts';

type Area = (typeof areas)[number];

/** What each area may import, besides itself; a name ending in `/` or `.ts` is a part of an area. */
const arrows: Record<Area, readonly string[]> = {
  protocol: [],
  health: [],
  bus: ['protocol', 'health'],
  gateway: ['protocol', 'health', 'bus'],
  'admin-api': ['protocol', 'health', 'bus'],
  tunnel: ['protocol'],
  device: ['protocol', 'tunnel'],
  cli: ['protocol', 'health', 'bus', 'gateway', 'admin-api', 'tunnel', 'device'],
  // The console knows the HTTP API only.
  console: [],
  // The load tools start the same services and programs as the tests, and write devices directly into the
  // store.
  bench: [
    'protocol',
    'tunnel',
    'device',
    'admin-api/store/',
    'admin-api/device-secrets.ts',
    'admin-api/message-code.ts',
    'test/services/',
    'test/wait.ts',
  ],
  test: areas,
  scripts: areas,
};

/** Parts whose folders and top files form no circle, so that each can be read after those that it imports. */
const layered = [
  'protocol/',
  'health/',
  'bus/',
  'gateway/',
  'admin-api/',
  'admin-api/http/',
  'admin-api/store/',
  'tunnel/',
  'device/',
  'cli/',
  'bench/',
];

/** Packages that only one part may import, so that replacing one only changes that part. */
const packages: { name: string; where: readonly string[] }[] = [
  { name: 'uWebSockets.js', where: ['gateway/', 'bench/', 'test/', 'scripts/'] },
  { name: 'ioredis', where: ['bus/redis/', 'bench/', 'test/'] },
  { name: 'pg', where: ['admin-api/store/', 'bench/', 'test/'] },
  { name: '@photostructure/sqlite', where: ['admin-api/store/', 'test/'] },
  { name: '@peculiar/x509', where: ['admin-api/pki/', 'gateway/joining/', 'test/'] },
];

/** Modules that browsers do not have, and that the pure protocol must not need. */
const ioModules = /^(?:node:(?!crypto$|util$|assert$)|ws$)/;

export async function findImportProblems(root: string): Promise<string[]> {
  return checkImports(await readSources(root));
}

export function checkImports(sources: ReadonlyMap<string, string>): string[] {
  const { graph, problems } = buildGraph(sources);
  return [
    ...problems,
    ...checkArrows(graph),
    ...checkPackages(sources),
    ...checkPurity(sources, graph),
    ...checkCycles(graph),
  ];
}

export function checkArrows(graph: ImportGraph): string[] {
  const problems: string[] = [];
  for (const [file, targets] of graph) {
    const area = areaOf(file);
    const allowed = [area, ...arrows[area]].map((name) => (/\/$|\.ts$/.test(name) ? name : `${name}/`));
    for (const { target, line } of targets) {
      if (!allowed.some((prefix) => target.startsWith(prefix))) {
        problems.push(`${file}:${line} imports ${target}: ${area} may import ${describe(arrows[area])}`);
      }
    }
  }
  return problems;
}

export function checkPackages(sources: ReadonlyMap<string, string>): string[] {
  const problems: string[] = [];
  const binding = new Set<string>();
  for (const [file, source] of sources) {
    for (const { specifier, line } of parseImports(source)) {
      const rule = packages.find(({ name }) => specifier === name || specifier.startsWith(`${name}/`));
      if (rule === undefined) continue;
      if (!rule.where.some((prefix) => file.startsWith(prefix))) {
        problems.push(`${file}:${line} imports ${rule.name}, which belongs to ${rule.where[0]}`);
      }
      if (rule.name === 'uWebSockets.js' && file.startsWith('gateway/')) binding.add(file);
    }
  }
  if (binding.size > 1) {
    problems.push(`uWebSockets.js is imported by ${[...binding].join(', ')}: one file of gateway/ may`);
  }
  return problems;
}

/** Neither the protocol nor anything that the device's browser entry reaches does I/O through Node.js. */
export function checkPurity(sources: ReadonlyMap<string, string>, graph: ImportGraph): string[] {
  const reached = new Set([...sources.keys()].filter((file) => file.startsWith('protocol/')));
  const browser = new Set(sources.has('device/index.browser.ts') ? ['device/index.browser.ts'] : []);
  for (const file of browser) for (const { target } of graph.get(file) ?? []) browser.add(target);
  const problems: string[] = [];
  for (const file of new Set([...reached, ...browser])) {
    for (const { specifier, line } of parseImports(sources.get(file) ?? '')) {
      // A browser has no Node.js modules at all.
      const wrong = ioModules.test(specifier) || (browser.has(file) && specifier.startsWith('node:'));
      if (!wrong) continue;
      problems.push(
        `${file}:${line} imports ${specifier}, but ${browser.has(file) ? 'runs in browsers' : 'is pure'}`,
      );
    }
  }
  return problems;
}

/** Looks for circles of folders only if no files form one, which would be reported twice. */
function checkCycles(graph: ImportGraph): string[] {
  const ofFiles = findCycles(graph).map((cycle) => `cycle: ${cycle.join(' -> ')}`);
  if (ofFiles.length > 0) return ofFiles;
  return layered
    .flatMap((part) => findCycles(folderGraph(graph, part)))
    .map((cycle) => `circle of folders: ${cycle.join(' -> ')}`);
}

/** One cycle for every file that closes one, as paths that start and end with the same file. */
export function findCycles(graph: ImportGraph): string[][] {
  const cycles: string[][] = [];
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string) => {
    const start = path.indexOf(file);
    if (start >= 0) {
      cycles.push([...path.slice(start), file]);
      return;
    }
    if (done.has(file)) return;
    path.push(file);
    for (const { target } of graph.get(file) ?? []) visit(target);
    path.pop();
    done.add(file);
  };
  for (const file of graph.keys()) visit(file);
  return cycles;
}

/** The imports inside a part, between its folders and the files at its top. */
function folderGraph(graph: ImportGraph, part: string): ImportGraph {
  const place = (file: string) => `${part}${file.slice(part.length).split('/', 1)[0]}`;
  const folders: ImportGraph = new Map();
  for (const [file, targets] of graph) {
    if (!file.startsWith(part)) continue;
    const inside = targets.filter(({ target }) => target.startsWith(part) && place(target) !== place(file));
    const known = folders.get(place(file)) ?? [];
    folders.set(place(file), [
      ...known,
      ...inside.map(({ target, line }) => ({ target: place(target), line })),
    ]);
  }
  return folders;
}

function areaOf(file: string): Area {
  const area = areas.find((name) => file.startsWith(`${name}/`));
  if (area === undefined) throw new Error(`${file} is in no area`);
  return area;
}

function describe(names: readonly string[]): string {
  return names.length === 0 ? 'nothing but itself' : `${names.join(', ')} and itself`;
}
