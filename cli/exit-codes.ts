/** The exit codes of `pushpoint`; docs/configuration.md lists them. */
export const EXIT = {
  /** Done; with `--wait`: every execution succeeded, or the gateway applied the change. */
  ok: 0,
  /** An unexpected fault. */
  fault: 1,
  /** Wrong usage or bad configuration; nothing was tried. */
  usage: 2,
  /** The server refused the request (4xx). */
  refused: 3,
  /** The server cannot be reached or cannot serve now. */
  unavailable: 4,
  /** `--wait`: every execution is final, and some did not succeed; or a gateway did not apply the change. */
  notAllSucceeded: 5,
  /** `--wait-timeout` elapsed before that. */
  waitTimeout: 6,
  /** `pushpoint agent`: the device was deleted or moved; starting it again changes nothing. */
  notAdmitted: 7,
  /** Interrupted by the operator (Ctrl-C). */
  interrupted: 130,
  /**
   * The reader of the output has gone, as in `| head -1`: the shell's code for a program that SIGPIPE ended.
   */
  outputClosed: 141,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_MEANINGS: readonly [ExitCode, string][] = [
  [EXIT.ok, 'done; with `--wait`: every execution succeeded, or the gateway applied the change'],
  [EXIT.fault, 'unexpected error'],
  [EXIT.usage, 'wrong usage or bad configuration; nothing was tried'],
  [EXIT.refused, 'the server refused the request (4xx)'],
  [EXIT.unavailable, 'the server cannot be reached or cannot serve now'],
  [
    EXIT.notAllSucceeded,
    '`--wait`: finished, but some executions did not succeed, or the gateway did not apply the change',
  ],
  [EXIT.waitTimeout, '`--wait-timeout` elapsed before that'],
  [
    EXIT.notAdmitted,
    '`pushpoint agent`: the gateways refuse this device permanently; its last line says why and what to do',
  ],
  [
    EXIT.interrupted,
    'interrupted (Ctrl-C), or a question was answered with no; programs that run until they are ' +
      'stopped end with 0',
  ],
  [EXIT.outputClosed, 'nobody reads the output any more, as after `| head -1`'],
];

/**
 * Ends the command with `exitCode`; `message` is for the person at the terminal, complete and without a
 * stack.
 */
export class CliError extends Error {
  override readonly name: string = 'CliError';
  readonly exitCode: ExitCode;
  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}
