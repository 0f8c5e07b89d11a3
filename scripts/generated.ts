export interface GeneratedFile {
  /** From the root of the repository. */
  file: string;
  /** Its whole text; the same every time, on every machine. */
  generate(): string | Promise<string>;
}

/** References that are made from the code: `scripts/generate.ts` writes them, the checks compare them. */
export const generatedFiles: readonly GeneratedFile[] = [];
