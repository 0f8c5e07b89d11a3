/** Devices that leave and return while a scenario goes on: in good order, or as when the power goes. */
import type { Fleet, FleetMember } from '../fleet/fleet.ts';
import type { Random } from './random.ts';

const EVERY_MS = 700;
const AT_ONCE = 3;
const AWAY_MS = 1_500;

export class Churn {
  readonly #fleet: Fleet;
  readonly #members: readonly FleetMember[];
  readonly #random: Random;
  readonly #away = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #failure: unknown;

  /** Of these members, as long as their process runs. */
  constructor(fleet: Fleet, members: readonly FleetMember[], random: Random) {
    this.#fleet = fleet;
    this.#members = members;
    this.#random = random;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#someLeave(), EVERY_MS);
  }

  /**
   * Everybody is back, or on the way; nobody leaves until the next `start`. Rejects when a departure or
   * return failed.
   */
  async settle(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await Promise.all(this.#away);
    if (this.#failure !== undefined) throw this.#failure;
  }

  #someLeave(): void {
    const here = this.#members.filter(({ started, process }) => started && process.running);
    for (const member of this.#random.some(AT_ONCE, here)) {
      const absence = this.#leaveAndReturn(member, this.#random.next() < 0.5).catch((error: unknown) => {
        this.#failure ??= error;
      });
      this.#away.add(absence);
      void absence.then(() => this.#away.delete(absence));
    }
  }

  async #leaveAndReturn(member: FleetMember, crash: boolean): Promise<void> {
    member.started = false;
    if (crash) await this.#fleet.crash([member]);
    else await this.#fleet.stop([member]);
    await new Promise((resolve) => setTimeout(resolve, this.#random.next() * AWAY_MS));
    await this.#fleet.start([member]);
  }
}
