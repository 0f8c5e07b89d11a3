/** What was played, and what the gateway did that it must not do. */
export class Tally {
  frames = 0;
  sessions = 0;
  legs = 0;
  sockets = 0;
  /** Connections that did not end within the time limit. */
  hung = 0;
  /** Sessions that went on although a frame broke a rule. */
  unpunished = 0;
  /**
   * Sessions without a wrong frame that were closed as if there had been one, or whose beat was not answered.
   */
  unjust = 0;
  readonly problems: string[] = [];
  /** Ends of connections by code, for people. */
  readonly ends = new Map<string, number>();
  readonly #target: number;

  constructor(target: number) {
    this.#target = target;
  }

  get done(): boolean {
    return this.frames >= this.#target;
  }

  get progress(): number {
    return this.frames / this.#target;
  }

  ended(kind: string, code: number | string): void {
    const key = `${kind} ${code}`;
    this.ends.set(key, (this.ends.get(key) ?? 0) + 1);
  }

  note(kind: 'hung' | 'unpunished' | 'unjust', text: string): void {
    this[kind]++;
    if (this.problems.length < 20) this.problems.push(`${kind}: ${text}`);
  }
}

const LIMIT_MS = 30_000;
const LOOK_MS = 5;

/** Whether it became true within the time limit. */
export async function within(condition: () => boolean, limitMs = LIMIT_MS): Promise<boolean> {
  const deadline = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return true;
}
