export interface Patch {
  /** Below `dist/`. */
  file: string;
  /** Must be there exactly once. */
  find: string;
  replace: string;
}

/** What notices a mutation: a test by its file below `test/`, without `.test.ts`, and its title. */
export interface Proof {
  file: string;
  test: string;
}

/** `P`: what a proof is; `play-test.ts` plays tests. */
export interface Mutation<P = Proof> {
  name: string;
  /** What is missing then. */
  title: string;
  patches: readonly Patch[];
  /** Holds with the mechanism and fails without. */
  proof: P;
}
