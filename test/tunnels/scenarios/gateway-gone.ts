/**
 * A gateway that is drained takes nothing along; one that is killed is noticed at both ends and recorded.
 */
import { connect } from 'node:net';
import * as assert from 'uvu/assert';
import { waitFor } from '../../wait.ts';
import type { TunnelProgram } from '../deployment.ts';
import { AnswerCheck, type Order, orderBytes, piecesOf, startExchangeServer } from '../exchange.ts';
import { type Scenario, since } from '../world.ts';

const DRAIN_BYTES = 40_000_000;
const KILL_BYTES = 2_000_000_000;
/** A gateway's lease, the time it may be without one, and what a busy machine adds. */
const KNOWN_WITHIN_MS = 20_000;

export const gatewayGone: Scenario = {
  name: 'gateway-gone',
  waits: true,
  title:
    'a drained gateway: the tunnel goes on elsewhere, whole; a killed one: both ends and the ledger know why',
  async run(world) {
    const { deployment, say } = world;
    await deployment.group('gone');
    const gateways = new Map(
      await Promise.all(
        ['gw-gone1', 'gw-gone2'].map(
          async (name) => [name, await deployment.startGateway(name, 'gone')] as const,
        ),
      ),
    );
    const { port, stop } = await startExchangeServer();
    const agent = await deployment.startAgent('gone-host', 'gone', [port]);
    const local = await deployment.startTunnel(agent.id, port);

    const transfer = new Transfer(local, {
      seedUp: 3,
      lengthUp: DRAIN_BYTES,
      seedDown: 4,
      lengthDown: DRAIN_BYTES,
    });
    await waitFor(() => transfer.received > DRAIN_BYTES / 10, { what: 'the transfer to be under way' });
    const before = await deployment.newestTunnel(agent.id);
    const drained = performance.now();
    await deployment.api.request('POST', `/v1/gateways/${before.gateway}/drain`);
    const fault = await transfer.done;
    world.checked(DRAIN_BYTES * 2, fault && `${fault}; ${local.program.output}`, 'transfer over a drain');
    await local.program.waitForLine(/^The tunnel goes on at gateway /);
    const moved = await waitFor(async () => {
      const tunnel = await deployment.tunnel(before.id);
      return tunnel.moves > 0 && tunnel;
    });
    assert.is.not(moved.gateway, before.gateway);
    say(`drained ${before.gateway}, went on at ${moved.gateway}, ${since(drained)}`);
    world.resumed += 1;

    const endless = new Transfer(local, { seedUp: 5, lengthUp: 0, seedDown: 6, lengthDown: KILL_BYTES });
    await waitFor(() => endless.received > 1_000_000, { what: 'the second transfer to be under way' });
    const killed = performance.now();
    await gateways.get(moved.gateway ?? '')?.program.killGroup();
    assert.is.not(await endless.done, null, 'what was cut short does not look whole');
    say(`killed ${moved.gateway}; the connection ended after ${since(killed)}`);
    const { code } = await local.program.exited;
    say(`the operator's end said so after ${since(killed)}: ${local.program.lines.at(-1)}`);
    assert.is(code, 5);
    assert.match(local.program.output, /The tunnel ended: Gateway \S+ is gone .*\(gateway-lost\)/);
    await agent.program.waitForLine((line) => line.includes('"tunnel ended"') && line.includes(before.id));
    assert.ok(performance.now() - killed < KNOWN_WITHIN_MS * 3, 'within seconds');
    const ended = await deployment.tunnel(before.id);
    assert.equal([ended.state, ended.end?.code], ['ended', 'gateway-lost']);
    const [entry] = await deployment.audit('tunnel.ended', before.id);
    assert.is((entry?.detail as { code?: string } | undefined)?.code, 'gateway-lost');
    stop();
  },
};

/** One connection through a local port; `done` says what was wrong, if anything was. */
class Transfer {
  readonly done: Promise<string | null>;
  readonly #check: AnswerCheck;

  constructor({ port }: TunnelProgram, order: Order) {
    this.#check = new AnswerCheck(order);
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const pieces = piecesOf(order);
    const more = () => {
      for (;;) {
        const { value, done } = pieces.next();
        if (done) return socket.end();
        if (!socket.write(value)) return;
      }
    };
    socket.on('drain', more);
    socket.write(orderBytes(order));
    more();
    this.done = new Promise((resolve) => {
      socket.on('data', (bytes) => this.#check.take(bytes));
      socket.once('end', () => resolve(this.#check.end()));
      socket.once('error', (error) => resolve(error.message));
      socket.once('close', () => resolve('closed'));
    });
  }

  get received(): number {
    return this.#check.received;
  }
}
