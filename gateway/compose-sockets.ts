/** The parts of a worker that hold connections and hear what devices send. */
import { nanoid } from 'nanoid';
import { AddressList } from '../bus/addresses.ts';
import { Newcomers } from '../bus/newcomers.ts';
import { Admission } from './admission/admission.ts';
import { Challenger } from './admission/challenger.ts';
import { Gatekeeper } from './admission/gatekeeper.ts';
import { membershipCheck } from './admission/membership-check.ts';
import { shareOf } from './config.ts';
import { Descriptors } from './listen/descriptors.ts';
import { Listener } from './listen/listener.ts';
import { NewcomersLimit } from './listen/newcomers-limit.ts';
import { probePort } from './listen/port-probe.ts';
import { PushServer, type PushServerEvents } from './listen/push-server.ts';
import { ReceiptSpool } from './receipts/spool.ts';
import { DeviceMessages } from './receive/device-messages.ts';
import { HeartbeatTimeouts } from './receive/heartbeat-timeouts.ts';
import { Connections } from './sessions/connections.ts';
import { PresenceReleases } from './sessions/presence-releases.ts';
import { handBack } from './sessions/refused-results.ts';
import { RoundTrips } from './sessions/round-trips.ts';
import { WorkerTunnels } from './tunnels/worker-tunnels.ts';
import type { Core, SessionParts, SocketParts, WorkerParts } from './worker-parts.ts';

/** Where connections come in. */
export function socketParts(core: Core, late: WorkerParts): SocketParts {
  const { config, metrics, ticker, siblings, gateways, log } = core;
  const newcomersLimit = new NewcomersLimit(shareOf(config.maxUnauthenticated, config) || 1);
  const newcomers: Newcomers = new Newcomers({
    bound: () => newcomersLimit.now,
    perAddress: shareOf(config.maxUnauthenticatedPerAddress, config) || 1,
    shared: new AddressList(config.sharedAddresses),
    now: () => ticker.now,
    limitTicks: ticker.ticks(config.handshakeTimeoutMs),
    cuts: metrics.newcomersCut,
  });
  const server = new PushServer({ config, newcomers, events: socketEvents(core, late) });
  return {
    newcomersLimit,
    newcomers,
    server,
    gatekeeper: new Gatekeeper({
      perSecond: config.upgradesPerSecond,
      state: () => late.status.door(),
      count: (reason) => metrics.upgradesRefused.add(reason),
    }),
    listener: new Listener({
      server,
      descriptors: new Descriptors(),
      connections: () => late.connections.devices,
      measured: (used, limit) => newcomersLimit.measured(used, limit, newcomers),
      port: () => gateways.own.port,
      formerPorts: () => late.follower.formerPorts(),
      share: () => shareOf(gateways.own.connectionLimit, config),
      wanted: () => late.status.wantedDoor,
      clearPort: (port) => (siblings ? siblings.clearPort(port) : probePort(config.host, port)),
      alone: siblings === null,
      fallbackPort: () => config.fallbackPort || (gateways.own.told?.port ?? 0),
      onLook: () => tell(late),
      log,
    }),
  };
}

function socketEvents({ metrics, log }: Core, late: WorkerParts): PushServerEvents {
  return {
    socketsChanged: () => late.listener.changed(),
    refusal: (prefix) => late.gatekeeper.refusal(prefix),
    wrongProtocol: () => metrics.upgradesRefused.add('subprotocol'),
    probed: () => metrics.probes++,
    open: (socket, port, newcomer) => late.challenger.open(socket, port, newcomer),
    message: (connection, bytes, isBinary) => late.messages.receive(connection, bytes, isBinary),
    writable: (connection) => late.connections.writable(connection),
    pong: (connection, payload) => late.roundTrips.pong(connection, payload),
    close: (connection, code, reason) => late.connections.closed(connection, code, reason),
    legRefusal: (prefix) => late.tunnels.refusal() ?? late.gatekeeper.hurried(prefix),
    legOpen: (leg, newcomer) => late.tunnels.open(leg, newcomer),
    fault: (error) => {
      metrics.faults++;
      log.error({ err: error }, 'a socket event was not handled');
    },
  };
}

/** Devices and tunnels on the connections, and what they send. */
export function sessionParts(core: Core & SocketParts, late: WorkerParts): SessionParts {
  const { config, bus, metrics, ticker, listener } = core;
  const spool = new ReceiptSpool({
    ...core,
    receipts: bus.receipts,
    options: {
      batch: config.receiptBatch,
      delayMs: config.receiptDelayMs,
      limit: config.receiptSpool,
      limitBytes: config.receiptSpoolBytes,
    },
    onResultRefused: ({ device, command }) => keep(connections.sessions.get(device), command),
  });
  const releases = new PresenceReleases({ ...core, presence: bus.presence });
  const onChanged = () => listener.changed();
  const connections: Connections = new Connections({
    ...core,
    idPrefix: nanoid(6),
    spool,
    releases,
    onChanged,
  });
  const keep = (connection: Parameters<typeof handBack>[0], command: string) =>
    handBack(connection, command, { connections, metrics, retryMs: config.resultRetryMs });
  const { fingerprint, carriedKeys, isSigned } = core;
  const admission = new Admission({
    ...core,
    isMember: fingerprint === null ? () => true : membershipCheck(() => carriedKeys.signing, isSigned),
    heartbeatMs: config.heartbeatIntervalMs,
    connections,
    spool,
    lease: () => late.keeper.held(),
    limit: () => listener.limit,
  });
  return {
    spool,
    releases,
    connections,
    admission,
    challenger: new Challenger({
      ...core,
      connections,
      installation: () => bus.owner.current?.id,
      moved: (port) => late.follower.moved(port),
      sendOn: (connection) => late.draining.sendOn(connection),
      opened: onChanged,
      budget: config,
      tick: () => ticker.now,
    }),
    messages: new DeviceMessages({
      ...core,
      ...config,
      ...{ connections, admission, spool, keep },
      pass: () => core.gateways.own.pass,
    }),
    roundTrips: new RoundTrips({ connections, metrics }),
    heartbeatTimeouts: new HeartbeatTimeouts({ ...core, connections }),
    tunnels: new WorkerTunnels({ ...core, spool, leaving: () => late.status.stopping || late.draining.all }),
  };
}

/** What others want to know soon. */
function tell({ follower, status, siblings, keeper }: WorkerParts): void {
  follower.look();
  if (!status.takeNews()) return;
  siblings?.changed();
  if (!status.stopping) void keeper.beat();
}
