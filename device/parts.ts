/** What both entry points export. Nothing here may use Node or a browser. */

export { RECONNECT_DEFAULTS, Reconnect, type ReconnectOptions } from './connection/reconnect.ts';
export { type DeviceStatus, type MakeStatusReports, statusReports } from './connection/status.ts';
export type { DeviceOptions } from './device.ts';
export type { DeviceEvents, SessionInfo } from './device-events.ts';
export { EnrollError } from './enroll.ts';
export type { ExecutionLimits } from './executions/executions.ts';
export type { Command, Handler, HandlerContext, HandlerOptions } from './executions/handlers.ts';
export { Aborted, Failed, Rejected } from './executions/handlers.ts';
export type { RefusalReason } from './executions/orders.ts';
export type { ReportQueueOptions } from './executions/report-queue.ts';
export { type MakeNearness, nearness } from './gateways/nearness.ts';
export type { NetworkWatch } from './gateways/network-watch.ts';
export { PROBE_DEFAULTS, type Probe, type ProbeOptions } from './gateways/probe.ts';
export type { DeviceLog } from './log.ts';
export { ApiError, type Fetch } from './platform/api-request.ts';
export type { DeviceCrypto, DeviceKey } from './platform/crypto.ts';
export type { DeviceSocket, Dial, SocketClosed, SocketEvents } from './platform/socket.ts';
export { type KeyRotation, keyRotation } from './rotate-key.ts';
export { MemoryStore } from './storage/memory-store.ts';
export type {
  DeviceIdentity,
  DeviceState,
  DeviceStore,
  ExecutionRecord,
  GroupKey,
  JournalEntry,
  Marks,
  Outcome,
  StoredDevice,
} from './storage/store.ts';
export type {
  DeviceTunnelOptions,
  MakeTunnels,
  ServeStream,
  TunnelNews,
  TunnelTarget,
} from './tunnels/tunnels.ts';
