// time limit: 240 s
/** Many sealed tunnels at once, whose legs drop and which move, again and again. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { TunnelStream } from '../../tunnel/index.ts';
import { Random } from '../faults/random.ts';
import { pattern } from '../tunnel/pair.ts';
import { waitFor } from '../wait.ts';
import { type Rig, withRig } from './rig.ts';
import { type End, granted, makeEnd, openCollecting } from './tunnel-rig.ts';

const TUNNELS = 200;
const ROUNDS = 4;
const PIECE = 20_000;

interface Echoed {
  id: string;
  operator: End;
  device: End;
  stream: TunnelStream;
  sent: Buffer[];
  got: Buffer[];
}

async function startEcho(rig: Rig): Promise<Echoed> {
  const made = await granted(rig);
  const device = makeEnd('device', made.device, {
    accept: () => (stream) => {
      stream.accepted();
      return {
        data: (bytes) => {
          stream.write(bytes);
          stream.consumed(bytes.length);
        },
        end: () => stream.end(),
        writable: () => {},
        closed: () => {},
      };
    },
  });
  const operator = makeEnd('operator', made.operator);
  await Promise.all([device.tunnel.start(), operator.tunnel.start()]);
  const { stream, got } = openCollecting(operator.tunnel);
  return { id: made.grant.id, operator, device, stream, sent: [], got };
}

/** To another turn at the gateway, as the administration server moves a tunnel: new tickets, the same key. */
async function move(rig: Rig, { id, operator, device }: Echoed): Promise<void> {
  const next = await granted(rig, { id });
  await Promise.all([operator.tunnel.moveTo(next.operator), device.tunnel.moveTo(next.device)]);
}

test(`T-4, T-5, T-14: ${TUNNELS} tunnels that drop and move lose no byte`, async () => {
  const random = new Random('many tunnels');
  await withRig({}, async (rig) => {
    const tunnels = await Promise.all(Array.from({ length: TUNNELS }, () => startEcho(rig)));
    try {
      for (let round = 0; round < ROUNDS; round++) {
        await Promise.all(
          tunnels.map(async (each, n) => {
            const bytes = pattern(PIECE, n + round);
            each.sent.push(bytes);
            each.stream.write(bytes);
            const drawn = random.below(4);
            if (drawn === 0) each.operator.tunnel.drop();
            else if (drawn === 1) each.device.tunnel.drop();
            else if (drawn === 2) await move(rig, each);
          }),
        );
      }
      const whole = ROUNDS * PIECE;
      const arrived = () => tunnels.filter(({ got }) => Buffer.concat(got).length >= whole).length;
      await waitFor(() => arrived() === TUNNELS, { timeoutMs: 60_000, what: 'all bytes to be back' });
      for (const { sent, got, operator, device } of tunnels) {
        assert.equal([operator.ended, device.ended], [[], []]);
        assert.ok(Buffer.concat(got).equals(Buffer.concat(sent)));
      }
      const dropped = tunnels.reduce(
        (sum, { operator, device }) => sum + operator.dropped + device.dropped,
        0,
      );
      assert.ok(dropped > TUNNELS / 2, `${dropped} legs dropped`);
      assert.is(await rig.metric('tunnels'), TUNNELS);
    } finally {
      for (const { operator, device } of tunnels) {
        operator.tunnel.close();
        device.tunnel.close();
      }
    }
  });
});

test.run();
