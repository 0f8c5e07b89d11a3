import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AddressList, originOf, originOfText } from '../../bus/addresses.ts';
import { UnauthenticatedSockets } from '../../bus/unauthenticated-sockets.ts';

/** `2001:db8:0:<network>::<host>`, as the kernel has it. */
function ipv6(network: number, host: number): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.set([0x20, 0x01, 0x0d, 0xb8]);
  bytes[7] = network;
  bytes[15] = host;
  return bytes;
}

test('the origin of a socket is its address and its /24 or /64, as bytes and as text', () => {
  const v4 = { address: '192.0.2.7', prefix: '192.0.2' };
  assert.equal(originOf(Uint8Array.of(192, 0, 2, 7)), v4);
  assert.equal(originOf(Uint8Array.from([...new Uint8Array(10), 255, 255, 192, 0, 2, 7])), v4);
  assert.equal([originOfText('192.0.2.7'), originOfText('::ffff:192.0.2.7')], [v4, v4]);
  assert.is(originOf(ipv6(1, 7)).prefix, '2001:db8:0:1');
  for (const text of ['2001:db8:0:1::7', '2001:db8:0:1:aaaa:bbbb:cccc:dddd', '2001:DB8:0:1::']) {
    assert.is(originOfText(text).prefix, '2001:db8:0:1', text);
  }
  assert.is(originOfText('fe80::1%eth0').prefix, 'fe80:0:0:0');
  assert.is(originOfText('::1').prefix, '0:0:0:0');
  assert.is(originOf(new Uint8Array(3)).prefix, originOfText('no address').prefix);
});

test('a /64 of IPv6 has the share of a prefix, however many of its addresses a stranger takes', () => {
  const cuts: string[] = [];
  const closed: string[] = [];
  const sockets = new UnauthenticatedSockets({
    bound: () => 16,
    perAddress: 4,
    shared: new AddressList(''),
    now: () => 0,
    limitTicks: 10,
    cuts: { add: (why) => void cuts.push(why) },
  });
  const come = (network: number, host: number) =>
    sockets.add({ cut: () => void closed.push(`${network}:${host}`) }, originOf(ipv6(network, host)));
  for (let host = 1; host <= 8; host++) come(1, host);
  come(2, 1);
  assert.equal(cuts, []);
  for (let host = 9; host <= 40; host++) come(1, host);
  assert.equal([new Set(cuts), sockets.size], [new Set(['prefix']), 9]);
  assert.equal(
    closed,
    Array.from({ length: 32 }, (_, n) => `1:${n + 1}`),
    'the oldest of it',
  );
  // All together: the largest prefix loses its oldest, and not the one that has two.
  for (let network = 3; network <= 9; network++) come(network, 1);
  assert.is(sockets.size, 16);
  come(2, 2);
  assert.equal([cuts.at(-1), closed.at(-1), sockets.size], ['crowded', '1:33', 16]);
});

test.run();
