/** Python with the package `cryptography`, for the device that is written in it. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { installPackage } from './install.ts';

const run = promisify(execFile);

/** The command. Installs what is missing if it may; otherwise throws an error that says what to install. */
export async function ensurePython(): Promise<string> {
  if (!(await hasCryptography())) {
    await installPackage('python3-cryptography', 'pip install cryptography');
    if (!(await hasCryptography())) {
      throw new Error('the first python3 of PATH has no package `cryptography`: pip install cryptography');
    }
  }
  return 'python3';
}

function hasCryptography(): Promise<boolean> {
  return run('python3', ['-c', 'import cryptography']).then(
    () => true,
    () => false,
  );
}
