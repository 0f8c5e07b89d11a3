/** Whatever has no right, no ticket or no manners: refused, recorded, and nothing else suffers. */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import * as assert from 'uvu/assert';
import type { ApiRefused } from '../../../cli/api/api-client.ts';
import type { OpenedTunnelView } from '../../../cli/api/views.ts';
import {
  DATA_HEADER,
  decodeTunnelFrame,
  encodeHello,
  encodeOpen,
  TUNNEL_CLOSE,
  TUNNEL_LIMITS,
  type TunnelFrame,
  writeDataHeader,
} from '../../../protocol/index.ts';
import { waitFor } from '../../wait.ts';
import type { AgentAt, TunnelDeployment } from '../deployment.ts';
import { AnswerCheck, orderBytes, piecesOf, startExchangeServer } from '../exchange.ts';
import { RawLeg, wrongTicket } from '../raw-leg.ts';
import type { Scenario, World } from '../world.ts';

/** More than the sockets between two programs hold. */
const MOST_UNREAD = 40_000_000;

type Join = NonNullable<OpenedTunnelView['join']>;

interface Opened {
  id: string;
  join: Join;
}

/** A tunnel nobody joins, so that its ticket grows old. */
async function leaveTicket(world: World): Promise<void> {
  const { deployment } = world;
  await deployment.group('unwelcome');
  await deployment.startGateway('gw-unwelcome', 'unwelcome', { workers: 2 });
  const { port, stop } = await startExchangeServer();
  const deaf = await startDeafServer();
  const agent = await deployment.startAgent('guarded', 'unwelcome', [port, deaf.port]);
  left = { agent, port, deaf, stop, old: await open(deployment, agent, port), since: performance.now() };
}

interface Left {
  agent: AgentAt;
  /** Of the exchange server, and of one that never reads. */
  port: number;
  deaf: { port: number; stop(): void };
  stop(): void;
  old: Opened;
  since: number;
}

let left: Left | undefined;

export const unwelcome: Scenario = {
  name: 'unwelcome',
  waits: true,
  title:
    'wrong tickets, ports, hosts, roles, windows and garbage: refused, recorded, nothing leaks, ' +
    'nothing crashes',
  prepare: leaveTicket,
  async run(world) {
    if (!left) throw new Error('not prepared');
    const { agent, port, old } = left;
    const { deployment } = world;
    const before = (await deployment.gateway('gw-unwelcome')).workers.map(({ pid }) => pid);
    await roles(deployment, agent, port);
    await places(deployment, agent);
    const tickets = [old, ...(await wrongTickets(deployment, agent, port))];
    tickets.push(...(await badManners(deployment, left)));
    await otherPlacesInside(deployment, agent, port);
    await oldTicket(deployment, old);
    await stillWell(world, agent, port);
    assert.equal(
      (await deployment.gateway('gw-unwelcome')).workers.map(({ pid }) => pid),
      before,
    );
    for (const { join } of tickets)
      assert.equal(deployment.whoSaid(join.ticket), [], 'tickets are in no log');
    left.stop();
    left.deaf.stop();
  },
};

async function open(
  deployment: TunnelDeployment,
  agent: AgentAt,
  port: number,
  body: object = {},
): Promise<Opened> {
  const { tunnel, join } = await deployment.api.request<OpenedTunnelView>('POST', '/v1/tunnels', {
    body: { deviceId: agent.id, port, ...body },
  });
  if (!join) throw new Error(`no tunnel: ${tunnel.end?.reason}`);
  return { id: tunnel.id, join };
}

/** Accepts connections and reads nothing. */
async function startDeafServer(): Promise<{ port: number; stop(): void }> {
  const sockets: Socket[] = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {
      // Its end is what this is about.
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    stop: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function endOf(deployment: TunnelDeployment, id: string): Promise<{ code: string; reason: string }> {
  return waitFor(async () => (await deployment.tunnel(id)).end, { what: `tunnel ${id} to end` });
}

async function join({ id, join }: Opened, change: object = {}): Promise<RawLeg> {
  const { gateway, worker, ticket, key } = join;
  return RawLeg.join(gateway.url, { tunnel: id, worker, ticket, key, ...change });
}

async function refusedWith(leg: RawLeg, reason: string | RegExp): Promise<void> {
  const said = await leg.told('refused');
  assert.match(said.reason ?? '', reason);
  assert.is(await leg.closed(), TUNNEL_CLOSE.refused);
}

async function roles(deployment: TunnelDeployment, agent: AgentAt, port: number): Promise<void> {
  const tries: [string, object][] = [
    [await deployment.tokenAs('viewer'), { port }],
    [await deployment.tokenAs('operator'), { port: 3389 }],
    [await deployment.tokenAs('operator'), { port, host: '192.0.2.1' }],
  ];
  for (const [token, body] of tries) {
    const refused = await deployment
      .apiAs(token)
      .request('POST', '/v1/tunnels', { body: { deviceId: agent.id, ...body } })
      .then(
        () => null,
        (error: ApiRefused) => error,
      );
    assert.equal([refused?.status, refused?.code], [403, 'forbidden']);
  }
  assert.is((await deployment.audit('tunnel.refused', agent.id)).length, tries.length);
}

/** The administrator may ask for anything; the device decides. */
async function places(deployment: TunnelDeployment, agent: AgentAt): Promise<void> {
  for (const body of [
    { port: 22 },
    { port: 3389 },
    { port: 80, host: '192.0.2.1' },
    { port: 80, host: 'localhost' },
  ]) {
    const { id } = await open(deployment, agent, body.port, body);
    const end = await endOf(deployment, id);
    assert.is(end.code, 'refused');
    assert.match(end.reason, /does not allow/);
    assert.is((await deployment.audit('tunnel.ended', id)).length, 1);
  }
}

async function wrongTickets(deployment: TunnelDeployment, agent: AgentAt, port: number): Promise<Opened[]> {
  const [one, two] = [await open(deployment, agent, port), await open(deployment, agent, port)];
  await refusedWith(await join(one, { ticket: wrongTicket() }), 'bad-ticket');
  await refusedWith(await join(one, { ticket: two.join.ticket }), 'bad-ticket');
  await refusedWith(await join(one, { side: 'device' }), /bad-ticket|used-ticket/);
  await refusedWith(await join(one, { tunnel: 'u000000000000000none' }), 'unknown-tunnel');
  const good = await join(one);
  await good.told('joined');
  good.say({ t: 'ping' });
  await good.told('pong');
  await refusedWith(await join(one), 'used-ticket');
  await waitFor(async () => (await deployment.tunnel(one.id)).refusedJoins >= 4, {
    what: 'recorded refusals',
  });
  const [entry] = await deployment.audit('tunnel.join-refused', one.id);
  assert.match(String((entry?.detail as { why?: string } | undefined)?.why), /ticket/);
  for (const { id } of [one, two]) await deployment.api.request('POST', `/v1/tunnels/${id}/close`);
  assert.match((await good.told('end')).reason ?? '', /operator closed/);
  return [one, two];
}

/** Joined as the operator, with the device there. */
async function paired(opened: Opened): Promise<{ leg: RawLeg; pair: number }> {
  const leg = await join(opened);
  const { pair = 0 } = await leg.told('peer', ({ here }) => here === true);
  return { leg, pair };
}

function hello(pair: number, highest: number): Uint8Array {
  return encodeHello({ pair, window: TUNNEL_LIMITS.streamWindow, highest, streams: [] });
}

function data(stream: number, offset: number, length: number): Uint8Array {
  const frame = new Uint8Array(DATA_HEADER + length);
  writeDataHeader(frame, stream, offset);
  return frame;
}

async function badManners(deployment: TunnelDeployment, { agent, port, deaf }: Left): Promise<Opened[]> {
  const all: Opened[] = [];
  const misbehave = async (
    what: string,
    to: number,
    act: (leg: RawLeg, pair: number) => void | Promise<void>,
  ) => {
    const opened = await open(deployment, agent, to);
    all.push(opened);
    const { leg, pair } = await paired(opened);
    await act(leg, pair);
    const end = await endOf(deployment, opened.id);
    assert.is(end.code, 'protocol', `${what}: ${end.code} ${end.reason}`);
    await leg.closed();
  };
  await misbehave('a stream over its window', deaf.port, async (leg, pair) => {
    leg.send(hello(pair, 1));
    leg.send(encodeOpen(1, '127.0.0.1', deaf.port));
    // Nobody reads at the other end, so that no credit comes for what the sockets on the way do not hold.
    const length = 32_768;
    for (let offset = 0; leg.closeCode === null && offset < MOST_UNREAD; offset += length) {
      leg.send(data(1, offset, length));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  });
  await misbehave('garbage', port, (leg, pair) => {
    leg.send(hello(pair, 0));
    leg.send(randomBytes(500).fill(0xff, 0, 1));
  });
  await misbehave('garbage for a hello', port, (leg) => leg.send(Buffer.from([1, 2, 3])));
  await misbehave('data of a stream that was never opened', port, (leg, pair) => {
    leg.send(hello(pair, 0));
    leg.send(data(9, 0, 10));
  });
  const opened = await open(deployment, agent, port);
  const { leg } = await paired(opened);
  leg.socket.send('{"t":"peer","here":');
  assert.is(await leg.closed(), TUNNEL_CLOSE.protocolError);
  await deployment.api.request('POST', `/v1/tunnels/${opened.id}/close`);
  const large = await open(deployment, agent, port);
  const second = await paired(large);
  second.leg.send(new Uint8Array(10 * TUNNEL_LIMITS.messageBytes));
  assert.ok(await second.leg.closed());
  await deployment.api.request('POST', `/v1/tunnels/${large.id}/close`);
  const silent = await RawLeg.dial(opened.join.gateway.url);
  silent.send(randomBytes(64));
  assert.is(await silent.closed(), TUNNEL_CLOSE.protocolError);
  return [...all, opened, large];
}

/** A ticket for one port does not open another one of the same device, allowed or not. */
async function otherPlacesInside(deployment: TunnelDeployment, agent: AgentAt, port: number): Promise<void> {
  const opened = await open(deployment, agent, port);
  const { leg, pair } = await paired(opened);
  leg.send(hello(pair, 2));
  leg.send(encodeOpen(1, '127.0.0.1', 22));
  leg.send(encodeOpen(2, 'localhost', port));
  const resets = await waitFor(
    () => {
      const frames = leg.frames.map((frame): TunnelFrame => decodeTunnelFrame(frame));
      const found = frames.filter((frame) => frame.type === 'reset');
      return found.length === 2 && found;
    },
    { what: 'both streams to be refused' },
  );
  for (const reset of resets) assert.is(reset.type === 'reset' && reset.code, 'refused');
  await agent.program.waitForLine('stream of a tunnel refused');
  leg.close();
  await deployment.api.request('POST', `/v1/tunnels/${opened.id}/close`);
}

async function oldTicket(deployment: TunnelDeployment, old: Opened): Promise<void> {
  const restMs = TUNNEL_LIMITS.ticketMs + 1_000 - (performance.now() - (left?.since ?? 0));
  if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs));
  await refusedWith(await join(old), /expired-ticket|unknown-tunnel/);
  assert.is((await endOf(deployment, old.id)).code, 'not-joined');
}

/** After all that, a tunnel through the same gateway to the same device carries what it should. */
async function stillWell(world: World, agent: AgentAt, port: number): Promise<void> {
  const tunnel = await world.deployment.startTunnel(agent.id, port);
  const order = { seedUp: 1, lengthUp: 1_000_000, seedDown: 2, lengthDown: 1_000_000 };
  const check = new AnswerCheck(order);
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ port: tunnel.port, host: '127.0.0.1', allowHalfOpen: true });
    socket
      .on('data', (bytes) => check.take(bytes))
      .once('end', resolve)
      .once('error', reject);
    socket.write(orderBytes(order));
    for (const piece of piecesOf(order)) socket.write(piece);
    socket.end();
  });
  world.checked(2_000_000, check.end(), 'after all that');
  await tunnel.program.kill('SIGINT');
}
