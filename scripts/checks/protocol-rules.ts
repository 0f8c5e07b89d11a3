import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readSources } from './sources.ts';

/** A rule's paragraph starts with its id: `- **H-3** The device ...`. */
const definition = /^\s*(?:[-*] )?\*\*([A-Z]+-\d+)\*\*/gm;
/** One letter, hyphen, one or two digits: no algorithm or standard that we use is called like that. */
const citation = /(?<![\w-])[A-Z]-\d{1,2}(?![\w-])/g;

export async function findRuleProblems(root: string): Promise<string[]> {
  return checkRules(await readFile(join(root, 'PROTOCOL.md'), 'utf8'), await readSources(root));
}

/**
 * Rules defined twice, rules without a test that names them in its title, and citations of rules that do not
 * exist.
 */
export function checkRules(protocol: string, sources: ReadonlyMap<string, string>): string[] {
  const defined = new Set<string>();
  const problems: string[] = [];
  for (const [, id = ''] of protocol.matchAll(definition)) {
    if (defined.has(id)) problems.push(`PROTOCOL.md defines ${id} twice`);
    defined.add(id);
  }
  if (defined.size === 0) problems.push('PROTOCOL.md defines no rules');
  const tested = new Set<string>();
  const check = (file: string, text: string) => {
    for (const [index, line] of text.split('\n').entries()) {
      for (const [id] of line.matchAll(citation)) {
        if (!defined.has(id))
          problems.push(`${file}:${index + 1} cites ${id}, which PROTOCOL.md does not define`);
      }
    }
  };
  check('PROTOCOL.md', protocol);
  for (const [file, source] of sources) {
    // The checker and its tests speak of rules that are examples.
    if (file.startsWith('scripts/') || file.startsWith('test/scripts/')) continue;
    check(file, source);
    if (!file.startsWith('test/')) continue;
    for (const title of testTitles(source)) for (const [id] of title.matchAll(citation)) tested.add(id);
  }
  const untested = [...defined].filter((id) => !tested.has(id));
  if (untested.length > 0)
    problems.push(`rules of PROTOCOL.md that no test's title names: ${untested.join(', ')}`);
  return problems;
}

/**
 * First arguments of `test(...)`, and of functions of a contract suite called like it (`rule(...)`,
 * `testBoth(...)`).
 */
export function testTitles(source: string): string[] {
  const call = /^\s*(?:test|rule)\w*\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/gm;
  return [...source.matchAll(call)].map((match) => match[2] ?? '');
}
