/**
 * `--wait` of the gateway commands: follows the gateway's state until it has applied the change, or reports
 * why it cannot.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { GatewayView } from '../api/views.ts';
import type { OperatorContext } from '../command-line.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import { LiveLine } from '../output/live-line.ts';
import { leavingText } from './gateway-tables.ts';

const LOOK_EVERY_MS = 500;
/** An older problem may disappear with the change; it counts if it stays this long. */
const OLD_PROBLEM_MS = 5_000;
/** Devices try again at least once a minute. */
const LOST_MS = 180_000;
/** Gateways apply settings within seconds, or their state says what is wrong. */
const TAKEN_UP_MS = 5_000;

export interface GatewayWait {
  /** The result, once it is done. */
  outcome(gateway: GatewayView, waitedMs: number): 'done' | 'failed' | null;
  waitTimeoutMs?: number | undefined;
}

/** Throws `CliError` after a timeout or Ctrl-C. */
export async function followGateway(
  { api, out, shell, signal }: OperatorContext,
  path: string,
  { outcome, waitTimeoutMs }: GatewayWait,
): Promise<{ gateway: GatewayView; outcome: 'done' | 'failed' }> {
  const line = new LiveLine(shell);
  const startedAt = Date.now();
  try {
    for (;;) {
      const gateway = await api.get<GatewayView>(path);
      const waited = Date.now() - startedAt;
      const end = outcome(gateway, waited);
      if (end !== null) return { gateway, outcome: end };
      if (!out.json) line.update(progressText(gateway));
      if (waitTimeoutMs !== undefined && waited >= waitTimeoutMs) {
        throw new CliError(EXIT.waitTimeout, `Gave up waiting: ${progressText(gateway)}.`);
      }
      await pause(LOOK_EVERY_MS, undefined, { signal }).catch(() => {
        throw new CliError(EXIT.interrupted, '');
      });
    }
  } finally {
    line.end();
  }
}

/** The gateway once its workers use the newest settings, or its current state after a few seconds. */
export async function whenTakenUp({ api, signal }: OperatorContext, path: string): Promise<GatewayView> {
  for (const until = Date.now() + TAKEN_UP_MS; ; ) {
    const gateway = await api.get<GatewayView>(path);
    if (gateway.applied || gateway.workers.length === 0 || Date.now() >= until) return gateway;
    await pause(LOOK_EVERY_MS, undefined, { signal }).catch(() => {
      throw new CliError(EXIT.interrupted, '');
    });
  }
}

function progressText(gateway: GatewayView): string {
  const { name, state, connections, onTheWay = 0 } = gateway;
  const leaving = leavingText(gateway.leaving) ?? `${connections} connected`;
  const way = onTheWay > 0 ? `, ${onTheWay} on the way` : '';
  return `${name}: ${state}, ${leaving}${way}${gateway.applied ? '' : ', settings not in force yet'}`;
}

/**
 * The gateway is empty, and its former devices are connected elsewhere. If the number of those without a
 * gateway does not fall for a while, that is a failure. A gateway that does not run has no devices.
 */
export function drainOutcome() {
  let fewest = Number.POSITIVE_INFINITY;
  let fellAt = 0;
  return (gateway: GatewayView, waitedMs: number): 'done' | 'failed' | null => {
    const { draining, state, onTheWay = 0 } = gateway;
    if (!draining) return 'failed';
    const empty = ['drained', 'off', 'down'].includes(state);
    if (empty && onTheWay === 0) return 'done';
    if (!empty || onTheWay < fewest) {
      fewest = empty ? onTheWay : fewest;
      fellAt = waitedMs;
    }
    return waitedMs - fellAt >= LOST_MS ? 'failed' : null;
  };
}

/** In use at every worker; a gateway that does not run applies its settings when it starts. */
export function settingsOutcome(before: GatewayView) {
  return (gateway: GatewayView, waitedMs: number): 'done' | 'failed' | null => {
    const { problem } = gateway;
    if (problem !== undefined && (problem !== before.problem || waitedMs >= OLD_PROBLEM_MS)) return 'failed';
    if (gateway.workers.length === 0) return 'done';
    return gateway.applied && problem === undefined ? 'done' : null;
  };
}
