export interface Patch {
  /** Below `dist/`. */
  file: string;
  /** Must be there exactly once. */
  find: string;
  replace: string;
}

/** A test by its file below `test/`, without `.test.ts`, and its title. */
export interface Proof {
  file: string;
  test: string;
}

export interface Mutation {
  name: string;
  /** What is missing then. */
  title: string;
  patches: readonly Patch[];
  /** Holds with the mechanism and fails without. */
  proof: Proof;
}
