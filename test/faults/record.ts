/** The database against the API, the harness and itself. */
import { isFinal } from '../../protocol/index.ts';
import type { Judgement } from '../fleet/ledger.ts';
import type { ExecutionRow } from './database.ts';
import type { World } from './world.ts';

const seen = new WeakMap<World, { last: number; ended: Set<string> }>();

/** Adds what it finds to the ledger's totals; what was judged before is not looked at again. */
export async function recordProblems(world: World, { given, rows }: Judgement): Promise<string[]> {
  const { totals, known } = world.ledger;
  const problems: string[] = [];
  for (const id of await world.database.commands()) {
    if (known.has(id)) continue;
    known.add(id);
    totals.duplicated++;
    problems.push(`duplicated: command ${id} is recorded, and nobody was answered its id`);
  }
  const stored = new Map<string, ExecutionRow>();
  const ids = new Set(given.map(({ id }) => id));
  for (const row of await world.database.executions(ids)) stored.set(keyOf(row), row);
  for (const { id, devices } of given) {
    const told = new Map(rows.get(id)?.map(({ deviceId, state }) => [deviceId, state]));
    for (const device of devices) {
      const row = stored.get(keyOf({ command: id, device }));
      if (!row) {
        totals.lost++;
        problems.push(`lost: ${id} on ${device} is not in the database`);
      } else if (row.state !== told.get(device)) {
        problems.push(`the API tells ${told.get(device)} of ${id} on ${device}, the database ${row.state}`);
      }
    }
  }
  problems.push(...(await historyProblems(world)));
  return problems;
}

/** What has ended does not change any more. */
async function historyProblems(world: World): Promise<string[]> {
  const before = seen.get(world) ?? { last: 0, ended: new Set<string>() };
  const { changes, last } = await world.database.changes(before.last);
  const problems: string[] = [];
  for (const change of changes) {
    const key = keyOf(change);
    if (before.ended.has(key)) {
      world.ledger.totals.duplicated++;
      problems.push(`duplicated: ${key} became ${change.state} after it had ended`);
    }
    if (isFinal(change.state)) before.ended.add(key);
  }
  seen.set(world, { last, ended: before.ended });
  return problems;
}

function keyOf({ command, device }: Pick<ExecutionRow, 'command' | 'device'>): string {
  return `${command} on ${device}`;
}
