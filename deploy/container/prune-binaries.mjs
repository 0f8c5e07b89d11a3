/**
 * `node prune-binaries.mjs NODE_MODULES [PLATFORM ARCHITECTURE ABI]`: removes binaries that this Node.js, or
 * the one named, cannot load. uWebSockets.js brings 257 MB for 54 combinations, of which one loads.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const [
  root = 'node_modules',
  platform = process.platform,
  architecture = process.arch,
  abi = process.versions.modules,
] = process.argv.slice(2);

const gateway = join(root, 'uWebSockets.js');
const own = `uws_${platform}_${architecture}_${abi}.node`;
if (!existsSync(join(gateway, own))) throw new Error(`${own} is not there: this Node.js runs no gateway`);
keepOnly(gateway, /^uws_.*\.node$/, own);

for (const folder of packagesIn(root)) {
  const prebuilds = join(folder, 'prebuilds');
  if (existsSync(join(prebuilds, `${platform}-${architecture}`))) {
    keepOnly(prebuilds, /-/, `${platform}-${architecture}`);
  }
}

function keepOnly(folder, pattern, kept) {
  for (const name of readdirSync(folder)) {
    if (pattern.test(name) && name !== kept) rmSync(join(folder, name), { recursive: true });
  }
}

function packagesIn(folder) {
  return readdirSync(folder).flatMap((name) =>
    name.startsWith('@') ? packagesIn(join(folder, name)) : [join(folder, name)],
  );
}
