/** Bundles a page as people who use the SDK do: the package by its name, for browsers, minified. */
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** Puts `@pushpoint/device` where the files of `folder` find it. */
export function linkDevicePackage(folder: string): void {
  mkdirSync(join(folder, 'node_modules/@pushpoint'), { recursive: true });
  symlinkSync(join(ROOT, 'packages/device'), join(folder, 'node_modules/@pushpoint/device'));
}

export async function bundlePage(file: string): Promise<string> {
  const warnings: string[] = [];
  const bundle = await rolldown({
    input: file,
    platform: 'browser',
    onwarn: ({ message }) => warnings.push(message),
  });
  try {
    const { output } = await bundle.generate({ format: 'es', minify: true });
    if (warnings.length > 0 || output.length !== 1) throw new Error(warnings.join('\n') || 'several files');
    return output[0].code;
  } finally {
    await bundle.close();
  }
}
