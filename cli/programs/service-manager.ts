/**
 * What a program tells systemd (sd_notify(3)): that it is ready, that it stops, and, where the unit asks for
 * it, that it lives. Node.js has no Unix datagram sockets, so `systemd-notify` says it: the units allow that
 * with `NotifyAccess=all`.
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
   * From now on it also says that the program lives, for as long as `live` says so; then systemd starts
   * another.
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
      if (!this.#failed) this.#log.error({ err: error }, 'systemd is not told: systemd-notify cannot be run');
      this.#failed = true;
    });
  }
}
