/** The log of a program: JSON lines on stderr, so that stdout stays for the ready line. */
import { type Logger, pino } from 'pino';
import type { CountingLog } from '../../bus/log-metrics.ts';
import { printableJson } from '../output/printable.ts';
import { goesToJournal, withPriority } from './journal.ts';
import { LogSink } from './log-sink.ts';

export function programLog(level: string): Logger & CountingLog {
  const sink = new LogSink(2);
  const journal = goesToJournal(2);
  const log = pino(
    {
      level,
      base: null,
      hooks: { streamWrite: printableJson },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: [
          'token',
          '*.token',
          'authorization',
          '*.authorization',
          'redis',
          '*.redis',
          'password',
          '*.password',
          'redisUrl',
          '*.redisUrl',
          'databaseUrl',
          '*.databaseUrl',
        ],
        censor: '(hidden)',
      },
    },
    journal ? { write: (line: string) => sink.write(withPriority(line)) } : sink,
  );
  // Child loggers have it too: their prototype is this one.
  return Object.assign(log, { droppedLines: () => sink.dropped });
}
