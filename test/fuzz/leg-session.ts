/** Legs of tunnels: without a ticket, and both ends of a tunnel that was opened as it should be. */
import {
  decodeLegMessage,
  encodeCredit,
  encodeFin,
  encodeHello,
  encodeOpen,
  encodeOpened,
  encodeReceived,
  encodeReset,
  TUNNEL_LIMITS,
  TunnelError,
  type TunnelSide,
} from '../../protocol/index.ts';
import type { Random } from '../faults/random.ts';
import { RawLeg } from '../gateway/tunnel-rig.ts';
import { mutateFrame } from '../protocol/frame-mutator.ts';
import type { OpenedTunnel } from './carrier.ts';
import { randomBytes } from './frames.ts';
import { type Tally, within } from './tally.ts';

const MOST_MESSAGES = 200;
const WRONG = 0.02;
const BIG_TEXT = 'x'.repeat(TUNNEL_LIMITS.secretLength * 100);

/** Nobody granted it anything. */
export async function playStrangerLeg(url: string, random: Random, tally: Tally): Promise<void> {
  const leg = await dialed(url, tally);
  for (let n = 1 + random.below(4); n > 0 && !leg.closing; n--) say(leg, random, tally, true);
  await hangUp(leg, tally, random);
}

/** Both ends talk at once; what is right goes on to the other end. */
export async function playTunnel(opened: OpenedTunnel, random: Random, tally: Tally): Promise<void> {
  const sides: TunnelSide[] = ['operator', 'device'];
  const legs = await Promise.all(sides.map(() => dialed(opened.operator.gateway.url, tally)));
  legs.forEach((leg, n) => {
    tally.frames++;
    leg.join(sides[n] as TunnelSide, opened[sides[n] as TunnelSide]);
  });
  const joined = (leg: RawLeg) => leg.closing !== null || leg.texts.some(({ t }) => t === 'joined');
  if (!(await within(() => legs.every(joined)))) tally.note('hung', 'a leg did not join');
  const faults = legs.map((): string | null => null);
  for (let left = random.below(MOST_MESSAGES); left > 0; left--) {
    const n = random.below(2);
    const leg = legs[n] as RawLeg;
    if (leg.closing) break;
    faults[n] ??= say(leg, random, tally, random.next() < WRONG);
    if (random.next() < 0.1) await new Promise((resolve) => setTimeout(resolve, random.below(10)));
  }
  await Promise.all(
    legs.map(async (leg, n) => {
      const fault = faults[n];
      if (fault && !(await within(() => leg.closing !== null))) tally.note('unpunished', `leg: ${fault}`);
      await hangUp(leg, tally, random);
    }),
  );
}

async function dialed(url: string, tally: Tally): Promise<RawLeg> {
  tally.legs++;
  const leg = new RawLeg(url);
  await within(() => leg.socket.readyState !== leg.socket.CONNECTING);
  return leg;
}

/** Says something; why the leg must be ended for it, if it must. */
function say(leg: RawLeg, random: Random, tally: Tally, wrong: boolean): string | null {
  tally.frames++;
  if (leg.socket.readyState !== leg.socket.OPEN) return null;
  if (!wrong && random.next() < 0.7) {
    leg.socket.send(rightBinary(random));
    return null;
  }
  if (wrong && random.next() < 0.3) {
    const long = random.next() < 0.3;
    leg.socket.send(randomBytes(random, long ? TUNNEL_LIMITS.messageBytes + 1 : random.below(100)));
    return long ? 'a frame that is too long' : null;
  }
  const text = wrong ? wrongText(random) : rightText(random);
  leg.socket.send(text);
  return faultOf(text);
}

function faultOf(text: string): string | null {
  if (Buffer.byteLength(text) > TUNNEL_LIMITS.textBytes) return 'a text that is too long';
  try {
    decodeLegMessage(text);
    return null;
  } catch (error) {
    if (error instanceof TunnelError) return error.message;
    throw error;
  }
}

function rightText(random: Random): string {
  return JSON.stringify(random.one([{ t: 'ping' }, { t: 'pong' }, { t: 'of-a-later-version', x: 1 }]));
}

function wrongText(random: Random): string {
  const secret = 'A'.repeat(TUNNEL_LIMITS.secretLength);
  const entry = {
    tunnel: 'tun-1',
    worker: random.below(3),
    side: random.one(['operator', 'device', 'both']),
  };
  return random.one([
    '',
    '{',
    'null',
    '[]',
    '{"t":1}',
    '['.repeat(1 + random.below(4_000)),
    JSON.stringify({ t: BIG_TEXT }),
    JSON.stringify({ t: 'join', ...entry, ticket: secret }),
    JSON.stringify({ t: 'join', ...entry, ticket: 'short' }),
    JSON.stringify({ t: 'join', ...entry, worker: -1, ticket: secret }),
    JSON.stringify({ t: 'resume', ...entry, secret }),
    JSON.stringify({ t: 'end', reason: random.next() < 0.5 ? 'fuzz' : BIG_TEXT }),
    JSON.stringify({ t: 'stats', streams: random.one([-1, 1.5, 'many', 3]) }),
    `{"t":"ping","__proto__":{"t":"end"}}`,
    String.fromCharCode(...randomBytes(random, random.below(60))),
  ]);
}

/** The gateway passes it on unread, right or mutated. */
function rightBinary(random: Random): Uint8Array {
  const stream = 1 + random.below(5);
  const offset = random.below(100_000);
  const frame = random.one([
    () => encodeHello({ pair: 1, window: TUNNEL_LIMITS.streamWindow, highest: 0, streams: [] }),
    () => encodeOpen(stream, '127.0.0.1', 22),
    () => encodeOpened(stream),
    () => encodeCredit(stream, offset),
    () => encodeFin(stream, offset),
    () => encodeReset(stream, 'aborted', 'fuzz'),
    () => encodeReceived(offset),
    () => randomBytes(random, 1 + random.below(2_000)),
  ])();
  return random.next() < 0.3 ? mutateFrame(frame, random.below.bind(random)) : frame;
}

async function hangUp(leg: RawLeg, tally: Tally, random: Random): Promise<void> {
  const left = !leg.closing;
  if (left) {
    if (random.next() < 0.5) leg.socket.close(1000);
    else leg.socket.terminate();
  }
  if (!(await within(() => leg.closing !== null))) {
    tally.note('hung', 'a leg did not end');
    leg.socket.terminate();
  }
  tally.ended('leg', left ? 'left' : (leg.closing?.code ?? 'never'));
}
