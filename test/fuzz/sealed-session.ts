/**
 * An honest device's end of a tunnel, and an operator's end (or who sits between them) that seals right
 * frames and sends wrong messages: whatever the device's end did not have to take ends the tunnel.
 */
import { wsLegDial } from '../../device/index.ts';
import { nodeFrameCipher } from '../../device/platform/frame-cipher-node.ts';
import {
  DATA_HEADER,
  encodeHello,
  encodeOpen,
  TUNNEL_LIMITS,
  writeDataHeader,
} from '../../protocol/index.ts';
import { Tunnel, type TunnelStream } from '../../tunnel/index.ts';
import type { Random } from '../faults/random.ts';
import { RawLeg } from '../gateway/tunnel-rig.ts';
import { mutateFrame } from '../protocol/frame-mutator.ts';
import { SealingEnd } from '../tunnel/sealing.ts';
import type { OpenedTunnel } from './carrier.ts';
import { randomBytes } from './frames.ts';
import { type Tally, within } from './tally.ts';

const MOST_MESSAGES = 100;
const MOST_DATA = 2_000;
const WRONG = 0.03;

export async function playSealedTunnel(opened: OpenedTunnel, random: Random, tally: Tally): Promise<void> {
  tally.legs += 2;
  const got: Buffer[] = [];
  const device = new DeviceEnd(opened, got);
  const leg = new RawLeg(opened.operator.gateway.url);
  await within(() => leg.socket.readyState !== leg.socket.CONNECTING);
  leg.join('operator', opened.operator);
  const peer = () => leg.texts.find((text) => text.t === 'peer' && text.here);
  if (!(await within(() => peer() !== undefined || leg.closing !== null))) tally.note('hung', 'no peer');
  const found = peer();
  if (found?.t === 'peer') await talk({ opened, leg, device, got, pair: found.pair }, random, tally);
  device.tunnel.close('fuzz');
  leg.close();
  tally.ended('sealed', device.ended?.split(':')[0] ?? 'left');
}

class DeviceEnd {
  readonly tunnel: Tunnel;
  ended: string | null = null;

  constructor({ device }: OpenedTunnel, got: Buffer[]) {
    const serve = (stream: TunnelStream) => {
      stream.accepted();
      return {
        data: (bytes: Uint8Array) => {
          got.push(Buffer.from(bytes));
          stream.consumed(bytes.length);
        },
        end: () => {},
        writable: () => {},
        closed: () => {},
      };
    };
    this.tunnel = new Tunnel(
      device,
      {
        side: 'device',
        dial: wsLegDial(),
        cipher: nodeFrameCipher(device.key, 'device'),
        accept: () => serve,
      },
      {
        ended: (reason) => {
          this.ended = reason;
        },
      },
    );
    this.tunnel.start().catch(() => {
      // `ended` says why.
    });
  }
}

interface Talk {
  opened: OpenedTunnel;
  leg: RawLeg;
  device: DeviceEnd;
  got: Buffer[];
  pair: number;
}

async function talk({ opened, leg, device, got, pair }: Talk, random: Random, tally: Tally): Promise<void> {
  const end = new SealingEnd(opened.operator.key, 'operator');
  const sent: Buffer[] = [];
  const messages: Uint8Array[] = [];
  const say = (message: Uint8Array) => {
    tally.frames++;
    messages.push(message);
    leg.socket.send(message);
  };
  say(end.seal(encodeHello({ pair, window: TUNNEL_LIMITS.streamWindow, highest: 1, streams: [] })));
  say(end.seal(encodeOpen(1, '127.0.0.1', 22)));
  let wrong: string | null = null;
  for (let left = random.below(MOST_MESSAGES); left > 0 && wrong === null; left--) {
    if (random.next() < WRONG) {
      const [what, message] = wrongMessage(end, messages, random);
      say(message);
      wrong = what;
      // Behind it, what would be right.
      say(end.seal(dataFrame(0, randomBytes(random, 10))));
      continue;
    }
    const bytes = randomBytes(random, 1 + random.below(MOST_DATA));
    say(end.seal(dataFrame(Buffer.concat(sent).length, bytes)));
    sent.push(Buffer.from(bytes));
    if (random.next() < 0.05) await new Promise((resolve) => setTimeout(resolve, random.below(10)));
  }
  const all = Buffer.concat(sent);
  if (!(await within(() => device.ended !== null || Buffer.concat(got).length >= all.length))) {
    tally.note('hung', `the device's end took ${Buffer.concat(got).length} of ${all.length} bytes`);
  }
  if (wrong !== null && !(await within(() => device.ended !== null)))
    tally.note('unpunished', `seal: ${wrong}`);
  if (wrong !== null && !/^forged/.test(device.ended ?? ''))
    tally.note('unpunished', `${wrong}: ${device.ended}`);
  if (wrong === null && device.ended !== null) tally.note('unjust', `a tunnel ended: ${device.ended}`);
  if (!Buffer.concat(got).equals(all)) tally.note('unjust', 'a stream has other bytes than were sent');
}

function dataFrame(offset: number, bytes: Uint8Array): Uint8Array {
  const frame = new Uint8Array(DATA_HEADER + bytes.length);
  writeDataHeader(frame, 1, offset);
  frame.set(bytes, DATA_HEADER);
  return frame;
}

/** What nobody could send who has no key, in words and bytes. */
function wrongMessage(
  end: SealingEnd,
  messages: readonly Uint8Array[],
  random: Random,
): [what: string, message: Uint8Array] {
  const right = end.seal(dataFrame(0, randomBytes(random, 1 + random.below(100))));
  return random.one<() => [string, Uint8Array]>([
    () => ['changed', changed(right, random)],
    () => ['repeated', random.one(messages)],
    () => ['cut', right.subarray(0, random.below(right.length))],
    () => ['not sealed', dataFrame(0, randomBytes(random, 20))],
    () => ['of another tunnel', new SealingEnd(randomBytes(random, 32), 'operator').seal(right, end.counter)],
    () => ['random', randomBytes(random, random.below(TUNNEL_LIMITS.messageBytes))],
  ])();
}

function changed(message: Uint8Array, random: Random): Uint8Array {
  const other = mutateFrame(message, random.below.bind(random));
  if (other.length <= TUNNEL_LIMITS.messageBytes && !Buffer.from(other).equals(message)) return other;
  const flipped = Uint8Array.from(message);
  const at = random.below(flipped.length);
  flipped[at] = (flipped[at] as number) ^ 1;
  return flipped;
}
