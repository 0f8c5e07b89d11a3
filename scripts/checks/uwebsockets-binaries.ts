import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

interface Recorded {
  package: string;
  version: string;
  /** File name to SHA-256, hexadecimal. */
  sha256: Record<string, string>;
}

/** The binary that was compared with upstream's release: Linux x64, Node 20. */
const anchor = {
  file: 'uws_linux_x64_115.node',
  sha256: 'f4fa5d7b697529b45ac8aa3d57385d9af51bc1d2b26aa9f5b68ca4361542e665',
};

/**
 * The package installed as uWebSockets.js is not published by its authors. So every binary must have the hash
 * in `scripts/uwebsockets-hashes.json`, and there must be no others.
 */
export async function findBinaryProblems(root: string): Promise<string[]> {
  const recorded = JSON.parse(
    await readFile(join(root, 'scripts', 'uwebsockets-hashes.json'), 'utf8'),
  ) as Recorded;
  const folder = join(root, 'node_modules', 'uWebSockets.js');
  const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Record<string, string>;
  const problems: string[] = [];
  if (manifest.name !== recorded.package || manifest.version !== recorded.version) {
    problems.push(
      `uWebSockets.js is ${manifest.name}@${manifest.version}; recorded is ` +
        `${recorded.package}@${recorded.version}`,
    );
  }
  if (recorded.sha256[anchor.file] !== anchor.sha256)
    problems.push(`the record of ${anchor.file} was changed`);
  const installed = (await readdir(folder)).filter((name) => /\.(?:node|js|mjs|cjs)$/.test(name));
  for (const name of new Set([...installed, ...Object.keys(recorded.sha256)])) {
    const expected = recorded.sha256[name];
    if (expected === undefined) problems.push(`uWebSockets.js contains ${name}, which is not recorded`);
    else if (!installed.includes(name)) problems.push(`uWebSockets.js lacks ${name}`);
    else {
      const actual = createHash('sha256')
        .update(await readFile(join(folder, name)))
        .digest('hex');
      if (actual !== expected)
        problems.push(`${name} of uWebSockets.js has SHA-256 ${actual}, recorded is ${expected}`);
    }
  }
  return problems;
}
