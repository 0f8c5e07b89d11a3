export interface GeneratedFile {
  /** From the root of the repository. */
  file: string;
  /** Its whole text; the same every time, on every machine. */
  generate(): string | Promise<string>;
}
