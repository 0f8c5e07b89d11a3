import type { GeneratedFile } from './generated-file.ts';
import { apiReference } from './make-api-reference.ts';
import { configurationReference } from './make-configuration-reference.ts';
import { manPage } from './make-man-page.ts';
import { makeVectors } from './vectors/make.ts';

/** References generated from the code: `scripts/generate.ts` writes them, the checks compare them. */
export const generatedFiles: readonly GeneratedFile[] = [
  apiReference,
  configurationReference,
  manPage,
  { file: 'protocol/vectors.json', generate: makeVectors },
];
