/** The log of a program: JSON lines on stderr, so that stdout stays for the ready line. */
import { type Logger, pino } from 'pino';

export function programLog(level: string): Logger {
  return pino(
    {
      level,
      base: null,
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
    pino.destination({ dest: 2, sync: true }),
  );
}
