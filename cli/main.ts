#!/usr/bin/env node
// The rest is imported after this check, because an older Node.js cannot load it.
import { tooOld } from './node-version.ts';

const complaint = tooOld(process.versions.node);
if (complaint === null) {
  const [{ run }, { processShell }] = await Promise.all([import('./run.ts'), import('./shell.ts')]);
  process.exitCode = await run(process.argv.slice(2), processShell());
} else {
  process.stderr.write(`${complaint}\n`);
  process.exitCode = 2;
}
