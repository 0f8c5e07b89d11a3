/** The running programs, in a file that outlives the agent: a run is stored before it begins. */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export interface TaskRecord {
  /** Id of this run, also in the environment of its processes. */
  run: string;
  /** Name of the task; '' for the sync hook. */
  task: string;
  /** Id of the command that started it. */
  command: string;
  /** Milliseconds since the Unix epoch. */
  startedAt: number;
  /** Its process group, and the start time of the group's leader; absent until it was started. */
  pgid?: number;
  start?: string;
}

/** Written synchronously: a name is taken at once, and programs start rarely. */
export class TaskRecords {
  readonly #path: string;
  readonly #records = new Map<string, TaskRecord>();

  /** An unreadable file counts as empty: the agent must start. */
  constructor(folder: string) {
    this.#path = join(folder, 'tasks.json');
    for (const record of read(this.#path)) this.#records.set(record.run, record);
  }

  all(): TaskRecord[] {
    return [...this.#records.values()];
  }

  /** When this returns, the record survives a crash of the agent. Throws if it cannot be written. */
  put(record: TaskRecord): void {
    const before = this.#records.get(record.run);
    this.#records.set(record.run, record);
    try {
      this.#save();
    } catch (error) {
      // A record that failed must not be stored with the next one: its run may never have begun.
      if (before) this.#records.set(record.run, before);
      else this.#records.delete(record.run);
      throw error;
    }
  }

  remove(run: string): void {
    if (this.#records.delete(run)) this.#save();
  }

  #save(): void {
    const next = `${this.#path}.new`;
    const file = openSync(next, 'w', 0o600);
    try {
      writeSync(file, `${JSON.stringify(this.all(), null, 2)}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(next, this.#path);
  }
}

function read(path: string): TaskRecord[] {
  try {
    const list = JSON.parse(readFileSync(path, 'utf8'));
    return Array.isArray(list) ? list.filter((each) => typeof each?.run === 'string') : [];
  } catch {
    return [];
  }
}
