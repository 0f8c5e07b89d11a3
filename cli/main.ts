#!/usr/bin/env node
// What an older Node.js cannot even load is imported after this has been looked at.
import { tooOld } from './node-version.ts';

const complaint = tooOld(process.versions.node);
if (complaint === null) {
  const [{ run }, { processShell }] = await Promise.all([import('./run.ts'), import('./shell.ts')]);
  process.exitCode = await run(process.argv.slice(2), processShell());
} else {
  process.stderr.write(`${complaint}\n`);
  process.exitCode = 2;
}
