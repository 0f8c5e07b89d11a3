/** `pushpoint pki`: the internal authority that certifies gateways and administration servers. */
import type { Command } from 'commander';
import type { AuthorityView } from '../api/views.ts';
import type { CommandShell, OperatorContext } from '../command-line.ts';
import type { Column } from '../output/table.ts';
import { DEFAULT, operatorCommand } from './operator-command.ts';
import { relativeTime } from './times.ts';

const COLUMNS: readonly Column<AuthorityView['authorities'][number]>[] = [
  { title: 'NUMBER', value: (row) => String(row.number), align: 'right' },
  { title: 'STATE', value: (row) => row.state },
  { title: 'ENDS', value: (row) => relativeTime(row.expiresAt) },
  { title: 'FINGERPRINT', value: (row) => row.fingerprint, shrink: true },
];

const NEXT: Record<AuthorityView['phase'], string> = {
  steady: 'No rotation is under way. Begin one: pushpoint pki rotate',
  introduced: 'The next authority is trusted, and not used yet. Use it: pushpoint pki advance',
  used: 'The next authority signs. Drop the old one for good: pushpoint pki advance',
};

const STEPS = [
  ['rotate', 'make the next authority, which all programs trust from then on'],
  ['advance', 'go to the next phase: use the next authority; then drop the old one'],
  ['rollback', 'go back to the phase before'],
] as const;

export function addPkiCommands(program: Command, shell: CommandShell): void {
  const pki = program
    .command('pki')
    .description('the internal authority that certifies gateways and servers');
  operatorCommand(
    pki,
    shell,
    'show',
    'the authorities, the phase of the rotation, and what it waits for',
    async (context) => show(context, await context.api.get<AuthorityView>('/v1/authority')),
    DEFAULT,
  );
  for (const [step, description] of STEPS) {
    operatorCommand(pki, shell, step, description, async (context) =>
      show(context, await context.api.request<AuthorityView>('POST', `/v1/authority/${step}`)),
    );
  }
}

function show({ out }: OperatorContext, view: AuthorityView): void {
  if (out.json) {
    out.document(view);
    return;
  }
  out.table(COLUMNS, view.authorities, 'No authority.');
  if (view.waitingFor.length > 0) out.note(`Waiting for ${view.waitingFor.join(', ')} to take it up.`);
  out.note(NEXT[view.phase]);
}
