/** The parts of a worker that hold connections and receive what devices send. */
import { nanoid } from 'nanoid';
import { AddressList } from '../bus/addresses.ts';
import { UnauthenticatedSockets } from '../bus/unauthenticated-sockets.ts';
import { Admission } from './admission/admission.ts';
import { Challenger } from './admission/challenger.ts';
import { Gatekeeper } from './admission/gatekeeper.ts';
import { membershipCheck } from './admission/membership-check.ts';
import { shareOf } from './config.ts';
import { Descriptors } from './listen/descriptors.ts';
import { Listener } from './listen/listener.ts';
import { probePort } from './listen/port-probe.ts';
import { PushServer, type PushServerEvents } from './listen/push-server.ts';
import { UnauthenticatedLimit } from './listen/unauthenticated-limit.ts';
import { ReceiptSpool } from './receipts/spool.ts';
import { DeviceMessages } from './receive/device-messages.ts';
import { HeartbeatTimeouts } from './receive/heartbeat-timeouts.ts';
import { Connections } from './sessions/connections.ts';
import { PendingSettled } from './sessions/pending-settled.ts';
import { PresenceReleases } from './sessions/presence-releases.ts';
import { handBack } from './sessions/refused-results.ts';
import { RoundTrips } from './sessions/round-trips.ts';
import { WorkerTunnels } from './tunnels/worker-tunnels.ts';
import type { Core, SessionParts, SocketParts, WorkerParts } from './worker-parts.ts';

/** Where connections arrive. */
export function socketParts(core: Core, late: WorkerParts): SocketParts {
  const { config, metrics, ticker, siblings, gateways, log } = core;
  const unauthenticatedLimit = new UnauthenticatedLimit(shareOf(config.maxUnauthenticated, config) || 1);
  const unauthenticatedSockets: UnauthenticatedSockets = new UnauthenticatedSockets({
    bound: () => unauthenticatedLimit.now,
    perAddress: shareOf(config.maxUnauthenticatedPerAddress, config) || 1,
    shared: new AddressList(config.sharedAddresses),
    now: () => ticker.now,
    limitTicks: ticker.ticks(config.handshakeTimeoutMs),
    cuts: metrics.unauthenticatedClosed,
  });
  const server = new PushServer({ config, unauthenticatedSockets, events: socketEvents(core, late) });
  return {
    unauthenticatedLimit,
    unauthenticatedSockets,
    server,
    gatekeeper: new Gatekeeper({
      perSecond: config.upgradesPerSecond,
      state: () => late.status.admission(),
      count: (reason) => metrics.upgradesRefused.add(reason),
    }),
    listener: new Listener({
      server,
      descriptors: new Descriptors(),
      connections: () => late.connections.devices,
      unauthenticated: () => unauthenticatedSockets.size,
      measured: (used, limit) => unauthenticatedLimit.measured(used, limit, unauthenticatedSockets),
      port: () => gateways.own.port,
      formerPorts: () => late.follower.formerPorts(),
      share: () => shareOf(gateways.own.connectionLimit, config),
      wanted: () => late.status.wantedListener,
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
    open: (socket, port, unauthenticated) => late.challenger.open(socket, port, unauthenticated),
    message: (connection, bytes, isBinary) => late.messages.receive(connection, bytes, isBinary),
    writable: (connection) => late.connections.writable(connection),
    pong: (connection, payload) => late.roundTrips.pong(connection, payload),
    close: (connection, code, reason) => late.connections.closed(connection, code, reason),
    legRefusal: (prefix) => late.tunnels.refusal() ?? late.gatekeeper.hurried(prefix),
    legOpen: (leg, unauthenticated) => late.tunnels.open(leg, unauthenticated),
    fault: (error) => {
      metrics.faults++;
      log.error({ err: error }, 'a socket event was not handled');
    },
  };
}

/** Devices and tunnels on the connections, and their messages. */
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
  const pendingSettled = new PendingSettled();
  const onChanged = () => listener.changed();
  const connections: Connections = new Connections({
    ...core,
    idPrefix: nanoid(6),
    spool,
    releases,
    pendingSettled,
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
    movedFrom: (port, group) => late.follower.movedFrom(port, group),
    lease: () => late.keeper.held(),
    limit: () => listener.limit,
  });
  return {
    spool,
    releases,
    pendingSettled,
    connections,
    admission,
    challenger: new Challenger({
      ...core,
      connections,
      installation: () => bus.owner.current?.id,
      opened: onChanged,
      budget: config,
      tick: () => ticker.now,
    }),
    messages: new DeviceMessages({
      ...core,
      ...config,
      ...{ connections, pendingSettled, admission, spool, keep },
      pass: () => core.gateways.own.pass,
    }),
    roundTrips: new RoundTrips({ connections, metrics }),
    heartbeatTimeouts: new HeartbeatTimeouts({ ...core, connections, pendingSettled }),
    tunnels: new WorkerTunnels({ ...core, spool, leaving: () => late.status.stopping || late.draining.all }),
  };
}

/** Notifications between parts. */
function tell({ follower, status, siblings, keeper }: WorkerParts): void {
  follower.look();
  if (!status.takeNews()) return;
  siblings?.changed();
  if (!status.stopping) void keeper.beat();
}
