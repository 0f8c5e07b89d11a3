#!/usr/bin/env node
import { run } from './run.ts';
import { endWhenUnread, processShell } from './shell.ts';

endWhenUnread();
process.exitCode = await run(process.argv.slice(2), processShell());
