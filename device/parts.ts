/** What both entry points export. Nothing in here may reach for Node or for a browser. */

export { ApiError, type Fetch } from './api-request.ts';
export type { DeviceCrypto, DeviceKey } from './crypto.ts';
export type { DeviceOptions } from './device.ts';
export type { DeviceEvents, SessionInfo } from './device-events.ts';
export { EnrollError } from './enroll.ts';
export type { ExecutionLimits } from './executions.ts';
export { PROBE_DEFAULTS, type Probe, type ProbeOptions } from './gateway-probe.ts';
export type { Command, Handler, HandlerContext, HandlerOptions } from './handlers.ts';
export { Aborted, Failed, Rejected } from './handlers.ts';
export type { DeviceStatus } from './heartbeat.ts';
export type { DeviceLog } from './log.ts';
export { MemoryStore } from './memory-store.ts';
export type { NetworkWatch } from './network-watch.ts';
export type { RefusalReason } from './orders.ts';
export { RECONNECT_DEFAULTS, Reconnect, type ReconnectOptions } from './reconnect.ts';
export type { DeviceSocket, Dial, SocketClosed, SocketEvents } from './socket.ts';
export type {
  DeviceIdentity,
  DeviceState,
  DeviceStore,
  ExecutionRecord,
  JournalEntry,
  Marks,
  Outcome,
  StoredDevice,
} from './store.ts';
export type { DeviceTunnelOptions, ServeStream, TunnelNews, TunnelTarget } from './tunnels/tunnels.ts';
export type { WordsOptions } from './words.ts';
