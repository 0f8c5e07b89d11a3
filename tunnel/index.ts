/**
 * The two ends of a tunnel, for devices and operators. The code does no I/O: callers provide connections and
 * TCP and the cipher.
 */
export type { FrameCipher, MakeFrameCipher } from './frame-cipher.ts';
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
