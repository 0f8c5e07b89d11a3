/** The programs as commands. Each is loaded only when it runs, so that operators' commands start fast. */
import type { Command } from 'commander';
import { type CommandShell, countFlag, type Flags } from './command-line.ts';
import { addConfigFlags } from './config/flags.ts';
import type { ExitCode } from './exit-codes.ts';
import { withGatewayBinary } from './programs/gateway-binary.ts';

/** Programs with settings of their own. */
const CHECKED_PROGRAMS = ['start', 'admin', 'gateway', 'agent'] as const;

type Run = (shell: CommandShell['shell'], flags: Flags) => Promise<ExitCode>;

export function addPrograms(parent: Command, { shell, ending }: CommandShell): void {
  const program = (name: string, description: string, load: () => Promise<Run>): Command =>
    parent
      .command(name)
      .description(description)
      .action(async (flags: Flags) => {
        // From the first moment on, a hangup must not end a program; the demo belongs to its terminal.
        if (name !== 'demo') shell.onHangup(() => {});
        const run = await load();
        ending.code = await run(shell, flags);
      });

  addConfigFlags(
    program(
      'start',
      'everything in one process: administration server, one gateway, SQLite',
      async () => (await withGatewayBinary(() => import('./programs/start.ts'))).runStart,
    ),
    'start',
  );
  addConfigFlags(
    program(
      'admin',
      'an administration server; gateways connect through Redis',
      async () => (await import('./programs/admin.ts')).runAdmin,
    ),
    'admin',
  );
  addConfigFlags(
    program(
      'gateway',
      'a gateway (push server); connects to administration servers through Redis',
      async () => (await withGatewayBinary(() => import('./programs/gateway.ts'))).runGateway,
    ),
    'gateway',
  );
  addConfigFlags(
    program(
      'agent',
      'the reference agent: turns this machine into a device',
      async () => (await import('./programs/agent.ts')).runAgent,
    ),
    'agent',
  );
  addConfigFlags(
    program(
      'restored',
      'run after restoring an older copy of the database: begins a new epoch of the installation',
      async () => (await import('./programs/restored.ts')).runRestored,
    ),
    'restored',
  );
  program(
    'demo',
    'starts the real programs in a temporary folder, with devices, and reports what happens',
    async () => (await withGatewayBinary(() => import('./demo/demo.ts'))).runDemo,
  )
    .option('--devices <count>', 'devices to connect', countFlag, 1_000)
    .option('--keep', 'leave it running afterwards')
    .option('--json', 'print the last line only');
  addConfigCheck(parent, { shell, ending });
}

/** Beside the operators' commands for the root key; it works on the database, without a server. */
export function addRootExport(root: Command, { shell, ending }: CommandShell): void {
  const command = root
    .command('export')
    .description('move the root key from the database into a file; run it where the servers run')
    .requiredOption('--key <file>', 'file for the root key, PEM; it must not exist')
    .action(async (flags: Flags) => {
      const { runRootExport } = await import('./programs/root-export.ts');
      ending.code = await runRootExport(shell, flags);
    });
  addConfigFlags(command, 'root-export');
}

function addConfigCheck(parent: Command, { shell, ending }: CommandShell): void {
  const check = parent
    .command('config')
    .description('check the settings of a program without starting it')
    .command('check')
    .description('show what a program would start with, and where each setting comes from');
  for (const program of CHECKED_PROGRAMS) {
    addConfigFlags(
      check
        .command(program)
        .description(`check the settings of pushpoint ${program}; takes its options`)
        .option('--json', 'JSON for programs instead of a table')
        .action(async (flags: Flags) => {
          const { checkConfig } = await import('./programs/config-check.ts');
          ending.code = await checkConfig(shell, program, flags);
        }),
      program,
    );
  }
}
