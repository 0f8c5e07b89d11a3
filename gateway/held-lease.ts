/** The lease a worker holds now. */
export interface HeldLease {
  incarnation: string;
  /** 1 for the first lease of this process, then one more each time. */
  number: number;
}
