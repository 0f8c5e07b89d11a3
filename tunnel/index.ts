/** Tunnels' ends: pure, for devices and operators alike; connections and TCP come from outside. */
export {
  LEG_TIMES,
  type LegClosed,
  type LegDial,
  type LegLimits,
  type LegSocket,
  type LegSocketEvents,
  type LegTimes,
  type TunnelTicket,
} from './leg.ts';
export { Multiplexer, type MultiplexerParts, type Refusal, TooManyStreams } from './multiplexer.ts';
export type { StreamHandlers, StreamReset, TunnelStream } from './stream.ts';
export { Tunnel, type TunnelHooks, type TunnelParts } from './tunnel.ts';
