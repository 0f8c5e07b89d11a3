/**
 * What a program reports to systemd (sd_notify(3)): that it is ready, that it stops, and, if the unit asks
 * for it, that it is alive. Node.js has no Unix datagram sockets, so it runs `systemd-notify`, which the
 * units allow with `NotifyAccess=all`.
 */
import { spawn } from 'node:child_process';

interface FaultLog {
  error(fields: object, message: string): void;
}

export class ServiceManager {
  readonly #env: NodeJS.ProcessEnv;
  readonly #log: FaultLog;
  #watchdog: NodeJS.Timeout | undefined;
  #failed = false;

  constructor(env: NodeJS.ProcessEnv, log: FaultLog) {
    this.#env = env;
    this.#log = log;
  }

  /**
   * From now on it also reports that the program is alive, while `live` says so; after that, systemd restarts
   * the program.
   */
  ready(live: () => boolean): void {
    this.#notify('READY=1');
    const limitMs = Number(this.#env.WATCHDOG_USEC) / 1_000;
    const own = this.#env.WATCHDOG_PID === undefined || this.#env.WATCHDOG_PID === String(process.pid);
    if (!(limitMs > 0) || !own) return;
    this.#watchdog = setInterval(() => {
      if (live()) this.#notify('WATCHDOG=1');
    }, limitMs / 3).unref();
  }

  /** The stop has a deadline of its own. */
  stopping(): void {
    clearInterval(this.#watchdog);
    this.#notify('STOPPING=1');
  }

  #notify(state: string): void {
    const { NOTIFY_SOCKET, PATH } = this.#env;
    if (!NOTIFY_SOCKET) return;
    const child = spawn('systemd-notify', [state], { stdio: 'ignore', env: { NOTIFY_SOCKET, PATH } });
    child.unref();
    child.once('error', (error) => {
      if (!this.#failed)
        this.#log.error({ err: error }, 'cannot report to systemd: systemd-notify cannot be run');
      this.#failed = true;
    });
  }
}
