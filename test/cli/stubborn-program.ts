/**
 * A program that would not end after its stop: something is left open, or its main thread hangs while it
 * stops.
 */
import { Assembly, runUntilSignal } from '../../cli/programs/lifecycle.ts';
import { processShell } from '../../cli/shell.ts';

const log = { info: () => {}, error: (_: object, message: string) => console.error(message) };
const hang = (): void => {
  for (;;);
};
const part = {
  name: 'stubborn',
  async start() {
    setInterval(() => {}, 1_000);
  },
  async stop() {
    if (process.argv[2] === 'hangs') hang();
  },
};

process.exitCode = await runUntilSignal({
  shell: processShell(),
  log,
  assembly: new Assembly([part], log),
  stopDeadlineMs: 1_000,
  onReady: () => console.log('ready'),
});
