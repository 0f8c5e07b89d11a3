/**
 * Honest devices beside the fuzz: commands to them succeed, a tunnel carries its bytes, and no session of
 * theirs ends.
 */
import { encodeReceived } from '../../protocol/index.ts';
import { enrolByHand } from '../e2e/enrol-by-hand.ts';
import type { Lab } from '../e2e/lab.ts';
import { Fleet } from '../fleet/fleet.ts';
import { Ledger } from '../fleet/ledger.ts';
import { Traffic } from '../fleet/traffic.ts';
import { RawLeg } from '../gateway/tunnel-rig.ts';
import { waitFor } from '../wait.ts';
import { Carrier } from './carrier.ts';

const DEVICES = 40;
const PER_SECOND = 5;
const TUNNEL_EVERY_MS = 50;

export class Neighbours {
  readonly #fleet: Fleet;
  readonly #ledger: Ledger;
  readonly #traffic: Traffic;
  readonly #carrier: Carrier;
  readonly #legs: [RawLeg, RawLeg];
  #sent = 0;
  #timer: NodeJS.Timeout;

  private constructor(fleet: Fleet, ledger: Ledger, carrier: Carrier, legs: [RawLeg, RawLeg]) {
    this.#fleet = fleet;
    this.#ledger = ledger;
    this.#carrier = carrier;
    this.#legs = legs;
    const devices = [...fleet.members.keys()];
    this.#traffic = new Traffic(ledger, {
      perSecond: PER_SECOND,
      devices,
      groups: [{ group: 'honest', devices }],
    });
    this.#timer = setInterval(() => legs[0].socket.send(encodeReceived(this.#sent++)), TUNNEL_EVERY_MS);
  }

  static async start(lab: Lab, url: string): Promise<Neighbours> {
    await lab.group('honest');
    await lab.group('carriers');
    const fleet = new Fleet([{}]);
    const { server } = lab.deployment;
    const token = await lab.operator.enrolmentToken('honest', DEVICES);
    const members = await fleet.enrol(DEVICES, 'honest', server, token);
    await fleet.start(members);
    await waitFor(() => fleet.connected.length === DEVICES, { timeoutMs: 30_000, what: 'honest devices' });
    const own = await lab.operator.enrolmentToken('carriers', 1);
    const carrier = await Carrier.start(url, await enrolByHand(server, own));
    const opened = await carrier.open(lab.operator);
    const legs: [RawLeg, RawLeg] = [
      await new RawLeg(opened.operator.gateway.url).open(),
      await new RawLeg(opened.operator.gateway.url).open(),
    ];
    const [, device] = legs;
    device.socket.on('message', (frame, isBinary) => isBinary && device.socket.send(frame));
    legs[0].join('operator', opened.operator);
    legs[1].join('device', opened.device);
    await legs[0].take('joined');
    await waitFor(() => legs[0].texts.some((text) => text.t === 'peer' && text.here), { what: 'both legs' });
    return new Neighbours(fleet, new Ledger(lab.operator.api, fleet), carrier, legs);
  }

  /** Commands that were answered so far. */
  get answered(): number {
    return this.#traffic.answered;
  }

  /** What disturbed them; waits until all that was given has ended. */
  async judge(): Promise<string[]> {
    clearInterval(this.#timer);
    const problems: string[] = [];
    const { commands } = await this.#traffic.stop();
    if (commands === 0) problems.push('no command was given');
    problems.push(...(await this.#ledger.judge()).problems);
    const ended = [...this.#fleet.members.values()].filter(({ endings }) => endings.length > 0);
    if (ended.length > 0) {
      problems.push(`${ended.length} lost their sessions:${this.#fleet.endingsOf(ended)}`);
    }
    if (this.#carrier.lost) problems.push(`the device with a tunnel lost its session: ${this.#carrier.lost}`);
    // There and back again.
    const heard = this.#legs[0].frames;
    await waitFor(() => heard.length === this.#sent, { what: 'the frames of the tunnel' }).catch(() => {
      const ends = JSON.stringify(this.#legs.map(({ closing }) => closing));
      problems.push(`the tunnel carried ${heard.length} of ${this.#sent} frames; legs closed: ${ends}`);
    });
    if (heard.some((frame, n) => !frame.equals(encodeReceived(n))))
      problems.push('the tunnel changed a frame');
    return problems;
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#traffic.stop().catch(() => {});
    for (const leg of this.#legs) leg.close();
    this.#carrier.stop();
    await this.#fleet.close();
  }
}
