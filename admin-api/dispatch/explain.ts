import type { Bus, Holder, Lease } from '../../bus/bus.ts';
import { closeName, isFinal } from '../../protocol/index.ts';
import type { LiveWorkers } from '../live-workers.ts';
import { Problem } from '../problems.ts';
import { END_CAUSES } from '../store/end-causes.ts';
import type { Command, Device, Execution, LateEnd } from '../store/records.ts';
import type { Store } from '../store/store.ts';

/** Why an execution is in its state: a sentence for people, a code with data for programs. */
export interface Explanation {
  code: string;
  sentence: string;
  data: Record<string, unknown>;
}

export interface ExplainParts {
  store: Store;
  bus: Bus;
  workers: LiveWorkers;
  resendAfterMs: number;
  /** Whether commands for a device wait because it is cloned. */
  withheld(device: string): boolean;
}

const time = (at: number) => new Date(at).toISOString();

/** Throws `Problem` not-found for a device, command or execution that is not recorded. */
export async function explain(
  parts: ExplainParts,
  deviceId: string,
  commandId: string,
): Promise<Explanation> {
  const { store, bus } = parts;
  const execution = await store.executions.get({ command: commandId, device: deviceId });
  const command = await store.commands.get(commandId);
  const device = await store.devices.get(deviceId);
  if (!command) throw new Problem('not-found', `There is no command ${commandId}.`);
  if (!execution) {
    if (!command.expanded) {
      return {
        code: 'expanding',
        sentence:
          'The server is still creating the executions of this command; it has not reached this device yet.',
        data: {},
      };
    }
    throw new Problem('not-found', `Command ${commandId} was not for device ${deviceId}.`);
  }
  if (execution.ending !== null) return explainEnding(execution.ending);
  if (execution.state !== 'queued') {
    const explanation = explainBeyondQueue(execution, device, parts.resendAfterMs);
    if (command.secret) explainSecret(explanation, command);
    return isFinal(execution.state) ? explanation : withCircumstances(explanation, device, command);
  }
  let holder: Holder | null | undefined;
  try {
    [holder] = await bus.presence.locate([deviceId]);
  } catch {
    // The bus cannot be reached: that is the explanation given below.
  }
  return explainQueued({ execution, command, device, holder, parts });
}

/** What the ledger cannot see of a secret command, or does not show here. */
function explainSecret(explanation: Explanation, { target }: Command): void {
  const { code } = explanation;
  if (code === 'acked' && 'group' in target) {
    explanation.sentence +=
      ' The command is secret: it may also be asking for the key of its group, which it gets while it is ' +
      'active and in that group.';
  }
  if (code === 'final') {
    explanation.sentence +=
      ' The command is secret: what else the device said is shown by `pushpoint commands reveal`.';
  }
  explanation.data = { ...explanation.data, secret: true };
}

function explainLate({ state, at, inTime }: LateEnd): string {
  if (!inTime) return `The device reported ${state} at ${time(at)}, after that.`;
  return (
    `The device reported ${state} at ${time(at)}, in time, but the report came here only later: this end ` +
    'is wrong.'
  );
}

function explainEnding({ how, asOf }: NonNullable<Execution['ending']>): Explanation {
  const { state } = END_CAUSES[how];
  return {
    code: 'ending',
    sentence:
      `It is to end ${state} as of ${time(asOf)}, as soon as everything is applied that gateways had ` +
      'heard from the device by then.',
    data: { state, asOf },
  };
}

function explainBeyondQueue(execution: Execution, device: Device | null, resendAfterMs: number): Explanation {
  const { state, reason, sentAt, ackedAt, startedAt, finishedAt, finishBy, percent, late } = execution;
  if (isFinal(state)) {
    const because = reason ? `: ${reason}` : '';
    const afterwards = late ? ` ${explainLate(late)}` : '';
    return {
      code: 'final',
      sentence: `It ended ${state} at ${time(finishedAt ?? 0)}${because}.${afterwards}`,
      data: { state, reason, finishedAt, late },
    };
  }
  if (state === 'running') {
    const done = percent === null ? '' : `, ${percent} % done`;
    return {
      code: 'running',
      sentence:
        `The device has said that it runs it since ${time(startedAt ?? ackedAt ?? 0)}${done}; it has ` +
        `until ${time(finishBy ?? 0)}.`,
      data: { startedAt, percent, note: execution.note, finishBy },
    };
  }
  if (state === 'acked') {
    return {
      code: 'acked',
      sentence:
        `The device has it since ${time(ackedAt ?? 0)} and has not said that it began; it may be busy ` +
        `with earlier commands. It has until ${time(finishBy ?? 0)}.`,
      data: { ackedAt, finishBy },
    };
  }
  return {
    code: 'unacknowledged',
    sentence:
      `It was sent through gateway ${device?.gateway ?? 'unknown'} at ${time(sentAt ?? 0)} and the ` +
      'device has not acknowledged it yet; without an answer it is sent again at ' +
      `${time((sentAt ?? 0) + resendAfterMs)}.`,
    data: { sentAt, gateway: device?.gateway ?? null, attempts: execution.attempts },
  };
}

/** The last report of a device may be old: says whether it is still connected, and whether it is to stop. */
function withCircumstances(explanation: Explanation, device: Device | null, command: Command): Explanation {
  const more: string[] = [];
  const back = 'it says what became of it when it is back';
  if (!device) more.push('The device was deleted.');
  else if (device.blockedAt !== null)
    more.push(`The device has been blocked since ${time(device.blockedAt)}.`);
  else if (!device.connected) more.push(`The device ${absence(device)}; ${back}.`);
  if (command.cancelRequestedAt !== null) {
    const reached = device?.connected
      ? 'the device has been asked to stop'
      : 'the device is asked to stop when it is back';
    more.push(`It was canceled at ${time(command.cancelRequestedAt)}: ${reached}.`);
  }
  return {
    code: explanation.code,
    sentence: [explanation.sentence, ...more].join(' '),
    data: {
      ...explanation.data,
      connected: device?.connected ?? false,
      blockedAt: device?.blockedAt ?? null,
      disconnectedAt: device?.connected ? null : (device?.disconnectedAt ?? null),
      cancelRequestedAt: command.cancelRequestedAt,
    },
  };
}

function absence(device: Device): string {
  const { disconnectedAt, closeCode, connectedAt } = device;
  if (disconnectedAt !== null) {
    const ended = closeCode === null ? 'without a close code' : `with ${closeCode}, ${closeName(closeCode)}`;
    return `has been offline since ${time(disconnectedAt)} (its last session ended ${ended})`;
  }
  return connectedAt === null ? 'has never connected' : 'is not connected';
}

interface QueuedFacts {
  execution: Execution;
  command: Command;
  device: Device | null;
  /** `undefined`: the bus cannot be reached. */
  holder: Holder | null | undefined;
  parts: ExplainParts;
}

function explainQueued(facts: QueuedFacts): Explanation | Promise<Explanation> {
  const { device, holder, parts } = facts;
  if (!device) return { code: 'device-deleted', sentence: 'The device was deleted.', data: {} };
  const known = { ...facts, device };
  const held = explainHeld(known) ?? explainUnreachable(known);
  if (held) return held;
  const lease = parts.workers.list().find(({ incarnation }) => incarnation === holder?.incarnation);
  return lease ? explainDue(known, lease) : explainLostWorker(known);
}

type KnownFacts = QueuedFacts & { device: Device };

function untilExpiry({ execution }: KnownFacts): string {
  return `It waits until ${time(execution.expiresAt)}.`;
}

/** The server does not send it now, wherever the device is. */
function explainHeld(facts: KnownFacts): Explanation | null {
  const { command, device, parts } = facts;
  const { expiresAt } = facts.execution;
  if (device.blockedAt !== null) {
    return {
      code: 'blocked',
      sentence:
        `The device has been blocked since ${time(device.blockedAt)}; blocked devices get no commands. ` +
        `${untilExpiry(facts)}`,
      data: { blockedAt: device.blockedAt, expiresAt },
    };
  }
  if (parts.withheld(device.id)) {
    return {
      code: 'cloned',
      sentence:
        'Two programs use the key of the device, and commands for such devices wait until it is split or ' +
        `released. ${untilExpiry(facts)}`,
      data: { clonedAt: device.clonedAt, expiresAt },
    };
  }
  if (command.cancelRequestedAt !== null) {
    return {
      code: 'canceling',
      sentence: 'The command was canceled; this execution is about to be.',
      data: { cancelRequestedAt: command.cancelRequestedAt },
    };
  }
  return null;
}

function explainUnreachable(facts: KnownFacts): Explanation | null {
  const { device, holder } = facts;
  const { expiresAt } = facts.execution;
  if (holder === undefined) {
    return {
      code: 'bus-unavailable',
      sentence:
        'The bus between the administration server and its gateways cannot be reached, so nothing is ' +
        `sent. ${untilExpiry(facts)}`,
      data: { expiresAt },
    };
  }
  if (holder !== null) return null;
  const { disconnectedAt, closeCode, closeReason, gateway } = device;
  return {
    code: 'offline',
    sentence: `The device ${absence(device)}. ${untilExpiry(facts)}`,
    data: { disconnectedAt, closeCode, closeReason, gateway, expiresAt },
  };
}

function explainLostWorker(facts: KnownFacts): Explanation {
  return {
    code: 'worker-gone',
    sentence:
      'The gateway worker that held the device is gone; it is sent as soon as the device is back. ' +
      `${untilExpiry(facts)}`,
    data: { incarnation: facts.holder?.incarnation, expiresAt: facts.execution.expiresAt },
  };
}

async function explainDue(facts: KnownFacts, { identity }: Lease): Promise<Explanation> {
  const { execution, device, parts } = facts;
  const { due } = await parts.store.executions.queuedFor([device.id], 100);
  const before = due.findIndex((row) => row.command === execution.commandId);
  if (before > 0) {
    return {
      code: 'waiting-turn',
      sentence:
        `${before} earlier command${before === 1 ? ' waits' : 's wait'} for the device; commands are ` +
        `sent in order. ${untilExpiry(facts)}`,
      data: { ahead: before, expiresAt: execution.expiresAt },
    };
  }
  return {
    code: 'due',
    sentence:
      `The device is connected to gateway ${identity.gateway}; it is about to be ` +
      `sent${execution.attempts > 0 ? ' again' : ''}.`,
    data: { gateway: identity.gateway, worker: identity.worker, attempts: execution.attempts },
  };
}
