/**
 * The parts of an administration server, each built once from those before it and not started yet. Each
 * constructor takes the parts that it needs under these names.
 */
import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import type { Bus } from '../bus/bus.ts';
import { Loops } from '../health/health.ts';
import { PlainBox, type SecretBox } from './at-rest/secret-box.ts';
import { Balancer } from './balance/balancer.ts';
import { BestEffortSender } from './best-effort-sender.ts';
import { DeviceSecrets } from './device-secrets.ts';
import { GatewayRegistrar } from './directory/gateway-registrar.ts';
import { DirectoryProjector } from './directory/projector.ts';
import { ClonedDevices } from './dispatch/cloned-devices.ts';
import { CommandFrames } from './dispatch/command-frames.ts';
import { Dispatcher } from './dispatch/dispatcher.ts';
import { Expander } from './dispatch/expander.ts';
import { loadEpochMac } from './epoch-mac.ts';
import { EventHub } from './event-hub.ts';
import { Canaries } from './health/canaries.ts';
import { ClockWatch } from './health/clock-watch.ts';
import { FleetWatch } from './health/fleet-watch.ts';
import { Health } from './health/health.ts';
import { StoreWatch } from './health/store-watch.ts';
import { loadInstallation } from './installation.ts';
import { carriedKeys } from './keys/carried-keys.ts';
import { KeysKeeper } from './keys/keys-keeper.ts';
import { ServerKeys } from './keys/server-keys.ts';
import { CopyWatch } from './ledger/copies.ts';
import { Finalizer } from './ledger/finalizer.ts';
import { ForgedReports } from './ledger/forged-reports.ts';
import { Frontier } from './ledger/frontier.ts';
import { Ingest } from './ledger/ingest.ts';
import { OverdueExecutions } from './ledger/overdue-executions.ts';
import { OwnDevices } from './ledger/own-devices.ts';
import { PutAside } from './ledger/put-aside.ts';
import { Recheck } from './ledger/recheck.ts';
import { ReportVerifier } from './ledger/report-verifier.ts';
import { WantedKeys } from './ledger/wanted-keys.ts';
import { LiveWorkers } from './live-workers.ts';
import { createAdminMetrics } from './metrics.ts';
import { Outcomes } from './outcomes.ts';
import { CertificateAuthority } from './pki/certificate-authority.ts';
import { GatewayKeyRing } from './pki/gateway-key-ring.ts';
import { JoinAnswers } from './pki/join-answers.ts';
import { LedgerSecrets } from './secrets/ledger-secrets.ts';
import { SecretCommands } from './secrets/secret-commands.ts';
import { type AdminConfig, adminSettings } from './settings.ts';
import type { Store } from './store/store.ts';
import { TunnelCloser } from './tunnels/tunnel-closer.ts';
import { TunnelIngest } from './tunnels/tunnel-ingest.ts';
import { TunnelKeeper } from './tunnels/tunnel-keeper.ts';

/** A loop that waits for a hanging database completes its round after half a minute. */
const STUCK_AFTER_SECONDS = 300;

export interface Given {
  /** Both started. */
  store: Store;
  bus: Bus;
  log: Logger;
  /** The keys by which the bus accepts gateways; opened here. */
  gatewayKeys?: GatewayKeyRing;
  /** Encrypts the secrets in the store; they are stored unencrypted when absent. */
  secretBox?: SecretBox;
  /** The clock of the ledger, milliseconds since the Unix epoch; the bus's clock when absent. */
  now?: () => number;
  config?: Partial<AdminConfig>;
}

export type AdminParts = Awaited<ReturnType<typeof compose>>;

export async function compose(given: Given) {
  const core = await coreParts(given);
  const placed = { ...core, ...placementParts(core) };
  const down = { ...placed, ...dispatchParts(placed) };
  const tunneled = { ...down, ...tunnelParts(down) };
  return { ...tunneled, ...ledgerParts(tunneled) };
}

/** The parts that all others build on. */
async function coreParts(given: Given) {
  const { store, bus, log, secretBox = new PlainBox(), gatewayKeys = new GatewayKeyRing() } = given;
  const { now = () => bus.clock.now(), config = {} } = given;
  const installation = await loadInstallation(store.meta);
  // Before anything is read or written there: it may belong to another installation.
  const epochMac = await loadEpochMac(store.meta, secretBox);
  await bus.owner.claim(installation, epochMac);
  const settings = adminSettings(config);
  const { epoch } = installation;
  const carried = await carriedKeys(bus);
  const serverKeys = await ServerKeys.load({ meta: store.meta, box: secretBox, epoch, now, carried });
  await serverKeys.mustFollow(carried);
  const secrets = await DeviceSecrets.load(store.meta, secretBox);
  const ledgerSecrets = new LedgerSecrets(secrets.secretFor('secret commands'));
  const secretCommands = new SecretCommands({ ledgerSecrets, secrets, installation });
  gatewayKeys.open({ store, secrets });
  const authority = new CertificateAuthority({ store, secretBox, installation, now });
  await authority.ensureFirst();
  const registry = new Registry();
  const hub = new EventHub({ events: store.events, log });
  const storeWatch = new StoreWatch({ store, log });
  const certificates = store.gatewayCertificates;
  const leases = new LiveWorkers({ bus, log, certificates }, settings.leasesIntervalMs);
  const loops = new Loops(STUCK_AFTER_SECONDS);
  return {
    store,
    bus,
    log,
    now,
    settings,
    installation,
    epochMac,
    serverKeys,
    signer: serverKeys.signer,
    secrets,
    secretBox,
    ledgerSecrets,
    secretCommands,
    authority,
    gatewayKeys,
    registry,
    metrics: createAdminMetrics(registry),
    hub,
    storeWatch,
    loops,
    health: new Health({ bus, store: storeWatch, loops }),
    outcomes: new Outcomes({ store, hub, now }),
    frames: new CommandFrames({ signer: serverKeys.signer, secretCommands }),
    sender: new BestEffortSender({ bus, leases, log }),
    leases,
    clocks: new ClockWatch({ store, bus, log }),
  };
}

type Core = Awaited<ReturnType<typeof coreParts>>;

/** The gateways, and which of them devices should use. */
function placementParts(core: Core) {
  const directory = new DirectoryProjector(core);
  return {
    directory,
    joinAnswers: new JoinAnswers(core),
    keysKeeper: new KeysKeeper({ ...core, directory }),
    registrar: new GatewayRegistrar({ ...core, directory }),
    fleet: new FleetWatch({ ...core, meta: core.store.meta }),
    balancer: new Balancer({ ...core, directory }, { movesPerSecond: core.settings.balanceMovesPerSecond }),
  };
}

/** A command's way down. */
function dispatchParts(core: Core) {
  const cloned = new ClonedDevices(core, { hold: core.settings.holdCloned });
  const dispatcher = new Dispatcher({ ...core, cloned });
  return { cloned, dispatcher, expander: new Expander({ ...core, dispatcher }) };
}

type Down = Core & ReturnType<typeof placementParts> & ReturnType<typeof dispatchParts>;

function tunnelParts(parts: Down) {
  const tunnelCloser = new TunnelCloser(parts);
  const { tunnelsIntervalMs: intervalMs, keepCommandsMs: keepMs, leaseBackMs } = parts.settings;
  const keeper = new TunnelKeeper({ ...parts, tunnelCloser }, { intervalMs, keepMs, leaseBackMs });
  return { tunnelCloser, keeper, tunnelIngest: new TunnelIngest({ ...parts, tunnelCloser, keeper }) };
}

/** An outcome's way up, and the final states that the ledger gives itself. */
function ledgerParts(parts: Down & ReturnType<typeof tunnelParts>) {
  const { settings, storeWatch: watch, tunnelIngest: tunnels } = parts;
  const canaries = new Canaries(parts, settings.canaryIntervalMs);
  const aside = new PutAside(parts);
  const forged = new ForgedReports(parts);
  const ownDevices = new OwnDevices(parts);
  const reportVerifier = new ReportVerifier({ ...parts, forged });
  const wantedKeys = new WantedKeys(parts);
  const frontier = new Frontier({ ...parts, patienceMs: settings.gatewayPatienceMs });
  return {
    canaries,
    aside,
    forged,
    reportVerifier,
    frontier,
    ingest: new Ingest({
      ...parts,
      tunnels,
      watch,
      canaries,
      aside,
      ownDevices,
      reportVerifier,
      copies: new CopyWatch(parts),
      wantedKeys,
    }),
    overdue: new OverdueExecutions(parts, { ...settings, intervalMs: settings.overdueIntervalMs }),
    finalizer: new Finalizer({ ...parts, frontier }),
    recheck: new Recheck(parts, { giveUpAfterMs: settings.recheckForMs }),
  };
}
