/** One step of the schema. Never changed once released; a change is another step in both sets. */
export interface Migration {
  /** 1, 2, 3 ... without gaps, the same in both sets. */
  number: number;
  name: string;
  statements: readonly string[];
}
