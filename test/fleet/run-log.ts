/**
 * What the devices of one process ran; in a file as well, where the process must not forget it when it is
 * killed.
 */
import { openSync, readFileSync, writeSync } from 'node:fs';
import type { Runs } from './fleet-messages.ts';
import { trueTime } from './true-time.ts';

export class RunLog {
  readonly #runs = new Map<string, Runs>();
  readonly #file: number | undefined;
  #order = 0;

  /** With a file, goes on from what it holds: whatever was under way was cut short. */
  constructor(path?: string) {
    if (path === undefined) return;
    this.#file = openSync(path, 'a+');
    for (const line of readFileSync(path, 'utf8').split('\n')) {
      const [what, device = '', command = '', at = ''] = line.split(' ');
      if (what === 's') this.#start(device, command, 0, Number(at));
      if (what === 'c') this.#of(device, command, 0).completed++;
      if (what === 'h') this.#of(device, command, 0).heardAt ??= Number(at);
    }
    for (const runs of this.#runs.values()) runs.cutShort = runs.started - runs.completed;
  }

  get all(): Runs[] {
    return [...this.#runs.values()];
  }

  started(device: string, command: string, place: number): void {
    const at = trueTime();
    this.#start(device, command, place, at);
    this.#write(`s ${device} ${command} ${at}\n`);
  }

  completed(device: string, command: string, place: number): void {
    this.#of(device, command, place).completed++;
    this.#write(`c ${device} ${command}\n`);
  }

  /** A gateway had its success by now. */
  heard(device: string, command: string, place: number): void {
    const runs = this.#of(device, command, place);
    if (runs.heardAt !== null) return;
    runs.heardAt = trueTime();
    this.#write(`h ${device} ${command} ${runs.heardAt}\n`);
  }

  cutShort(device: string, command: string, place: number): void {
    this.#of(device, command, place).cutShort++;
  }

  #start(device: string, command: string, place: number, at: number): void {
    const runs = this.#of(device, command, place);
    if (runs.started++ === 0) runs.begunAt = at;
  }

  #of(device: string, command: string, place: number): Runs {
    const key = `${device} ${command} ${place}`;
    const runs = this.#runs.get(key) ?? {
      ...{ device, command, place, started: 0, completed: 0, cutShort: 0, heardAt: null, begunAt: 0 },
      order: ++this.#order,
    };
    this.#runs.set(key, runs);
    return runs;
  }

  /**
   * In the kernel's hands when this returns, so that it survives the process, as the device's own journal
   * does.
   */
  #write(line: string): void {
    if (this.#file !== undefined) writeSync(this.#file, line);
  }
}
