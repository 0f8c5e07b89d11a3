/** Writes all generated references: `npm run build && node dist/scripts/generate.js`, from the root. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { generatedFiles } from './generated.ts';

for (const { file, generate } of generatedFiles) {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, await generate());
  console.log(`wrote ${file}`);
}
