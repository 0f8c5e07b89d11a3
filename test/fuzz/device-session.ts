/** One connection of a fuzzed device, from its dialing to its end. */
import { decodeOrderBody, encodeGatewayMessage, type Order, ProtocolError } from '../../protocol/index.ts';
import type { Random } from '../faults/random.ts';
import { type Identity, makeIdentity, prove, RawDevice } from '../gateway/raw-device.ts';
import { faultOf, randomBytes, rightFrame, wrongFrame } from './frames.ts';
import { type Tally, within } from './tally.ts';

/** Fewer than a device may send at once (F-7), so that a session without fault is not closed. */
const MOST_FRAMES = 150;
const FLOOD_FRAMES = 400;
const PROTOCOL_ERROR = 4400;
const WRONG = 0.03;

export interface SessionParts {
  url: string;
  identity: Identity;
  random: Random;
  tally: Tally;
}

export async function playDeviceSession(parts: SessionParts): Promise<void> {
  const { url, random, tally } = parts;
  tally.sessions++;
  const device = new RawDevice(url);
  const drawn = random.next();
  if (drawn < 0.15) await misbehaveInHandshake(device, parts);
  else if (await welcomed(device, parts)) await talk(device, parts);
  await end(device, parts);
}

function over(device: RawDevice): boolean {
  return device.closing !== null || device.refused !== null;
}

function send(device: RawDevice, frame: Uint8Array | string, tally: Tally): void {
  tally.frames++;
  if (device.socket.readyState === device.socket.OPEN) device.socket.send(frame);
}

/** Anything but an honest proof. */
async function misbehaveInHandshake(device: RawDevice, parts: SessionParts): Promise<void> {
  const { random, tally, identity } = parts;
  await within(() => device.socket.readyState !== device.socket.CONNECTING);
  if (random.next() < 0.5) await within(() => device.received.length > 0 || over(device));
  const ways: (() => Promise<void> | void)[] = [
    () => send(device, randomBytes(random, random.below(100)), tally),
    () => send(device, wrongFrame(random, identity, []), tally),
    () => send(device, rightFrame(random, identity, []), tally),
    () => send(device, '{"t":"prove"}', tally),
    () => prove(device, makeIdentity('nobody')),
    () => prove(device, identity, { gateway: 'another' }),
    () => prove(device, { ...makeIdentity(identity.id), id: identity.id }),
    async () => {
      await prove(device, identity);
      await prove(device, identity);
    },
    () => send(device, encodeGatewayMessage({ t: 'beat', time: 1 }), tally),
  ];
  for (let n = 1 + random.below(3); n > 0 && !over(device); n--) {
    // One that waits for a challenge on a connection that has ended is over as well.
    await Promise.race([random.one(ways)(), within(() => over(device))]).catch(() => {});
    tally.frames++;
  }
}

async function welcomed(device: RawDevice, { identity, tally }: SessionParts): Promise<boolean> {
  const has = (t: string) => device.received.some((message) => message.t === t);
  if (!(await within(() => has('challenge') || over(device)))) {
    tally.note('hung', 'no challenge came');
    return false;
  }
  if (over(device)) return false;
  await prove(device, identity);
  tally.frames++;
  if (!(await within(() => has('welcome') || over(device)))) {
    tally.note('hung', 'no welcome came');
    return false;
  }
  return !over(device);
}

async function talk(device: RawDevice, { random, tally, identity }: SessionParts): Promise<void> {
  const flood = random.next() < 0.03;
  const wrong = random.next() < 0.5 ? WRONG : 0;
  let fault: string | null = null;
  for (let left = flood ? FLOOD_FRAMES : 1 + random.below(MOST_FRAMES); left > 0 && !over(device); left--) {
    const ids = commandsOf(device);
    if (random.next() < wrong) {
      if (random.next() < 0.1) {
        fault ??= 'a text frame';
        send(device, 'text', tally);
      } else {
        const frame = wrongFrame(random, identity, ids);
        fault ??= faultOf(frame);
        send(device, frame, tally);
      }
    } else if (random.next() < 0.02) sendInParts(device, rightFrame(random, identity, ids), tally);
    else send(device, rightFrame(random, identity, ids), tally);
    if (random.next() < 0.1) await new Promise((resolve) => setTimeout(resolve, random.below(10)));
  }
  if (flood) return;
  await judge(device, fault, tally, random);
}

/** As RFC 6455 lets them, with a ping between the parts. */
function sendInParts(device: RawDevice, frame: Uint8Array, tally: Tally): void {
  tally.frames++;
  if (device.socket.readyState !== device.socket.OPEN) return;
  const cut = Math.floor(frame.length / 2);
  device.socket.send(frame.subarray(0, cut), { fin: false });
  device.socket.ping('between');
  device.socket.send(frame.subarray(cut), { fin: true });
}

async function judge(device: RawDevice, fault: string | null, tally: Tally, _random: Random): Promise<void> {
  if (fault !== null) {
    if (!(await within(() => over(device)))) tally.note('unpunished', fault);
    return;
  }
  const answers = () => device.received.filter((message) => message.t === 'beat').length;
  const before = answers();
  if (!over(device)) device.send({ t: 'beat' });
  if (!(await within(() => answers() > before || over(device))))
    tally.note('unjust', 'a beat was not answered');
  if (device.closing?.code === PROTOCOL_ERROR) tally.note('unjust', `closed with ${device.closing.reason}`);
}

/** Ids of the commands that came in this session. */
function commandsOf({ received }: RawDevice): string[] {
  return received.flatMap((message) => (message.t === 'order' ? idOf(message) : []));
}

function idOf({ body }: Order): string[] {
  try {
    const order = decodeOrderBody(body);
    return order && 'id' in order ? [order.id] : [];
  } catch (error) {
    if (error instanceof ProtocolError) return [];
    throw error;
  }
}

/** In some way; it has to be over soon. */
async function end(device: RawDevice, { random, tally }: SessionParts): Promise<void> {
  const { socket } = device;
  const left = !over(device);
  if (left) {
    const drawn = random.next();
    if (drawn < 0.4) socket.close(1000);
    else if (drawn < 0.6) socket.close(4000 + random.below(1_000), 'fuzz');
    else socket.terminate();
  }
  if (!(await within(() => over(device)))) {
    tally.note('hung', 'a connection did not end');
    socket.terminate();
  }
  const { refused, closing } = device;
  tally.ended('device', refused ? `refused ${refused.status}` : left ? 'left' : (closing?.code ?? 'never'));
}
