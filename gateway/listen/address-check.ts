/**
 * Checks that the address for remote hosts resolves. If it does not, the worker reports a problem, and
 * devices keep getting the previous address.
 */
import { lookup } from 'node:dns/promises';

export class AddressCheck {
  readonly #onChange: () => void;
  #address: string | undefined;
  #lastGood: string | undefined;
  #state: 'good' | 'checking' | 'bad' = 'checking';
  #problem: string | undefined;
  #checking = false;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /** Whether the latest address is known to resolve. */
  get good(): boolean {
    return this.#state === 'good';
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  /** Checks the configured address; one that did not resolve is tried again. */
  follow(address: string): void {
    if (address !== this.#address) {
      this.#address = address;
      this.#state = address === this.#lastGood ? 'good' : 'checking';
      this.#problem = undefined;
    }
    if (this.#state !== 'good') void this.#check(address);
  }

  async #check(address: string): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    const problem = await addressProblem(address);
    this.#checking = false;
    if (address !== this.#address) {
      this.#onChange();
      return;
    }
    const changed = this.#state === 'checking' || (problem === undefined) !== (this.#problem === undefined);
    this.#state = problem === undefined ? 'good' : 'bad';
    this.#problem = problem;
    if (problem === undefined) this.#lastGood = address;
    if (changed) this.#onChange();
  }
}

async function addressProblem(address: string): Promise<string | undefined> {
  if (!/^wss?:\/\//.test(address) || !URL.canParse(address)) {
    return `the address for remote hosts, ${address}, is not a ws:// or wss:// URL: correct it`;
  }
  const host = new URL(address).hostname.replace(/^\[(.*)\]$/, '$1');
  try {
    await lookup(host);
    return undefined;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    return (
      `the address for remote hosts, ${address}, cannot be used: ${host} does not resolve (${code}); ` +
      'devices keep the previous one'
    );
  }
}
