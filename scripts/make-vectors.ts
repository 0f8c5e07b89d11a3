/**
 * Writes protocol/vectors.json; with `--check`, only says whether it is current (exit code 1 if not). Run it
 * from the root of the repository.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { makeVectors } from './vectors/make.ts';

const FILE = 'protocol/vectors.json';

const made = makeVectors();
if (process.argv.includes('--check')) {
  if (readFileSync(FILE, 'utf8') !== made) {
    console.error(`${FILE} is not current: node dist/scripts/make-vectors.js`);
    process.exitCode = 1;
  }
} else {
  writeFileSync(FILE, made);
}
