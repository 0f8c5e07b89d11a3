/** Tunnels' ends: pure, for devices and operators alike; connections and TCP come from outside. */
export type {
  LegDial,
  LegSocket,
  LegSocketEvents,
  LegTimes,
  TunnelTicket,
} from './leg.ts';
export { Multiplexer, type MultiplexerParts, type Refusal, TooManyStreams } from './multiplexer.ts';
export type { StreamHandlers, StreamReset, TunnelStream } from './stream.ts';
export { Tunnel, type TunnelParts } from './tunnel.ts';
