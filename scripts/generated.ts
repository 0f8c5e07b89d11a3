import type { GeneratedFile } from './generated-file.ts';
import { apiReference } from './make-api-reference.ts';
import { configurationReference } from './make-configuration-reference.ts';
import { makeVectors } from './vectors/make.ts';

/** References that are made from the code: `scripts/generate.ts` writes them, the checks compare them. */
export const generatedFiles: readonly GeneratedFile[] = [
  apiReference,
  configurationReference,
  { file: 'protocol/vectors.json', generate: makeVectors },
];
