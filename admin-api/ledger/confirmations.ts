/**
 * Messages to devices once their reports are stored: they may forget a result, or must stop a command
 * that the ledger has ended. Any of these messages may be lost; the device then reports again.
 */
import { encodeGatewayMessage, type FinalState, isFinal } from '../../protocol/index.ts';
import type { BestEffortSender, Letter } from '../best-effort-sender.ts';
import type { CommandFrames } from '../dispatch/command-frames.ts';
import type { Advance, ExecutionKey } from '../store/store.ts';

/** A stored execution, and what its device reported about it. */
export interface Reported extends ExecutionKey {
  /** `null`: the ledger has no such execution. */
  state: string | null;
  said: Advance['state'];
  /** The worker that brought the result. */
  worker?: string | undefined;
  /** The command is for a group: the device may learn of it with its next heartbeat. */
  ofGroup: boolean;
}

export interface ConfirmationsParts {
  sender: Pick<BestEffortSender, 'send'>;
  frames: Pick<CommandFrames, 'cancelForDevice'>;
  now: () => number;
}

export class Confirmations {
  readonly #parts: ConfirmationsParts;

  constructor(parts: ConfirmationsParts) {
    this.#parts = parts;
  }

  /** `toCancel`: executions that still run although they were canceled. */
  async send(reported: readonly Reported[], toCancel: readonly ExecutionKey[]): Promise<void> {
    const ended = reported.filter((row) => !isFinal(row.said));
    await this.#parts.sender.send([...this.#cancels([...toCancel, ...ended]), ...settledOf(reported)]);
  }

  #cancels(rows: readonly ExecutionKey[]): Letter[] {
    const { frames, now } = this.#parts;
    return rows.map(({ command, device }) => ({
      devices: [device],
      frame: frames.cancelForDevice(command, device, now()),
    }));
  }
}

function settledOf(reported: readonly Reported[]): Letter[] {
  const letters = new Map<string, Letter>();
  // Of each worker, many consecutive rows differ only in the device.
  const lasts = new Map<string | undefined, { row: Reported; letter: Letter }>();
  for (const row of reported) {
    if (!isFinal(row.said)) continue;
    const last = lasts.get(row.worker);
    if (last && isAlike(last.row, row)) {
      last.letter.devices.push(row.device);
      continue;
    }
    const { command, state, said, worker } = row;
    const key = `${command} ${state} ${said === state} ${worker}`;
    const letter = letters.get(key) ?? letterOf(row, row.said);
    letters.set(key, letter);
    letter.devices.push(row.device);
    lasts.set(worker, { row, letter });
  }
  return [...letters.values()];
}

function isAlike(one: Reported, other: Reported): boolean {
  return one.command === other.command && one.state === other.state && one.said === other.said;
}

/** A heartbeat carries only ids, so it can confirm only the state that the device reported. */
function letterOf({ command: id, state, worker, ofGroup }: Reported, said: FinalState): Letter {
  const to = { devices: [], ...(worker !== undefined && { worker }) };
  if (ofGroup && said === state) return { ...to, settled: { id, state: said } };
  const stored = (state ?? 'unknown') as FinalState | 'unknown';
  return { ...to, frame: encodeGatewayMessage({ t: 'settled', id, state: stored }) };
}
