import uWS from 'uWebSockets.js';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import * as assert from 'uvu/assert';
import { ApiRefused } from '../../../cli/api/api-client.ts';
import { freePort, waitFor } from '../../wait.ts';
import type { GatewayPatch, World } from '../world.ts';

const DEVICES = 1_000;
const NAME = 'gw4';
/** An address for documentation (RFC 5737): no machine has it. */
const NOT_HERE = '203.0.113.7';

/** A setting that cannot be applied, and what the API has to say of it. */
interface Refused {
  what: string;
  /** Resolves with the change, and how to take away what stands against it. */
  prepare(): Promise<{ change: GatewayPatch; undo(): Promise<void> }>;
  says: RegExp;
}

const nothing = async () => {};

const REFUSED: readonly Refused[] = [
  {
    what: 'a port that another program holds',
    prepare: async () => {
      const { server, port } = await holdPort();
      return { change: { port }, undo: () => new Promise<void>((resolve) => server.close(() => resolve())) };
    },
    says: /port \d+ is in use by another program/,
  },
  {
    what: 'a port that another program would share',
    prepare: async () => {
      const port = await freePort();
      const token = await shareablePort(port);
      return { change: { port }, undo: async () => uWS.us_listen_socket_close(token) };
    },
    says: /port \d+ is in use by another program/,
  },
  {
    what: 'a privileged port',
    prepare: async () => ({ change: { port: 1_023 }, undo: nothing }),
    says: /port 1023 needs a privilege/,
  },
  {
    what: 'an address that leads nowhere',
    prepare: async () => ({ change: { address: 'ws://no-such-host.invalid:13295' }, undo: nothing }),
    says: /no-such-host\.invalid does not resolve/,
  },
];

const NONSENSE = ['nonsense', 'http://127.0.0.1:13295', 'ws://127.0.0.1:13295/path', 'ws://', 'ws://:0'];

export async function refusedSettings(world: World): Promise<void> {
  await world.gateways(5);
  await world.devices(world.share(DEVICES));
  for (const refused of REFUSED) await staysAsItWas(world, refused);
  await refusesNonsense(world);
  await doesNotStart(world);
}

async function staysAsItWas(world: World, { what, prepare, says }: Refused): Promise<void> {
  const before = await world.gateway(NAME);
  const held = world.fleet.on(NAME).map((member) => ({ member, arrivals: member.arrivals.length }));
  assert.ok(held.length > 0, `devices are on ${NAME}`);
  const { change, undo } = await prepare();
  try {
    await world.change(NAME, change);
    const view = await world.gatewayTells(NAME, `tells of ${what}`, ({ state, applied }) => {
      return state === 'problem' && !applied;
    });
    assert.match(view.problem ?? '', says);
    assert.ok(
      view.workers.every(({ port }) => port === before.port),
      'every worker listens where it did',
    );
    await stillServes(world, before.port);
    world.say(`${what}: "${view.problem}"`);
  } finally {
    await world.change(NAME, { port: before.port, address: before.address });
    await undo();
  }
  await world.gatewayTells(NAME, 'is as before', ({ state, applied, problem }) => {
    return state === 'up' && applied && problem === undefined;
  });
  const gone = held.filter(
    ({ member, arrivals }) => member.arrivals.length !== arrivals || member.where === null,
  );
  assert.is(gone.length, 0, `${gone.length} of ${held.length} devices lost their connection`);
}

/** Newcomers are let in by the old port, and those who are there are reached. */
async function stillServes(world: World, port: number): Promise<void> {
  const probe = await fetch(`http://127.0.0.1:${port}/probe`);
  assert.equal([probe.status, probe.headers.get('pushpoint-gateway')], [204, NAME]);
  const [device] = world.fleet.on(NAME);
  if (!device) throw new Error(`nobody is on ${NAME}`);
  const { id } = await world.ledger.send('message', [device.id]);
  await world.until(
    'a command to be done',
    10_000,
    async () => (await world.ledger.counts(id)).succeeded === 1,
  );
}

async function refusesNonsense(world: World): Promise<void> {
  const before = await world.gateway(NAME);
  for (const address of NONSENSE) {
    const refusal = await world.change(NAME, { address }).then(
      () => undefined,
      (error: unknown) => error,
    );
    assert.instance(refusal, ApiRefused, `"${address}" is refused`);
  }
  const after = await world.gateway(NAME);
  assert.equal([after.state, after.address, after.revision], ['up', before.address, before.revision]);
  world.say(`${NONSENSE.length} nonsense addresses refused`);
}

/** An interface to listen on is not a live setting: the gateway says so and ends. */
async function doesNotStart(world: World): Promise<void> {
  const port = String(await freePort());
  const program = await world.deployment.runGateway('astray', [
    ...['--host', NOT_HERE, '--port', port, '--workers', '2'],
    ...['--address', `ws://127.0.0.1:${port}`],
  ]);
  try {
    await program.waitForLine(/is not an address of this machine/, 15_000);
    const { code } = await program.exited;
    assert.ok(code !== 0 && code !== null, `it ended with ${code}`);
    world.say(`an address of another machine: exit code ${code}`);
  } finally {
    await program.stop();
  }
}

/** What was free may be somebody's a moment later, also of tests that run beside this one: then another. */
async function holdPort(): Promise<{ server: Server; port: number }> {
  return waitFor(
    async () => {
      const port = await freePort();
      const server = createServer((socket) => socket.destroy());
      server.listen({ port, host: '127.0.0.1', exclusive: true });
      await once(server, 'listening');
      return { server, port };
    },
    { what: 'a port to hold' },
  );
}

/** Held with SO_REUSEPORT, so that the kernel would let a second program of this user in. */
function shareablePort(port: number): Promise<uWS.us_listen_socket> {
  return new Promise((resolve, reject) => {
    uWS.App().listen('127.0.0.1', port, (token) => {
      if (token) resolve(token);
      else reject(new Error(`port ${port} cannot be listened on`));
    });
  });
}
