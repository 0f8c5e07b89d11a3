/**
 * Handles a device's frame: checks its rate, decodes it, checks the connection's state, and calls the
 * handler. Handlers return receipts; all sending and closing happens here.
 */
import type { Logger } from 'pino';
import type { Receipt } from '../../bus/bus.ts';
import {
  type Beat,
  BeatAnswers,
  CLOSE,
  type DeviceMessage,
  decodeDeviceMessage,
  encodeGatewayMessage,
  ProtocolError,
  type Prove,
  plainBeat,
  type SignedPass,
} from '../../protocol/index.ts';
import type { Admission } from '../admission/admission.ts';
import type { Metrics } from '../metrics.ts';
import type { ReceiptSpool } from '../receipts/spool.ts';
import type { Connections } from '../sessions/connections.ts';
import type { PendingSettled } from '../sessions/pending-settled.ts';
import {
  type AdmittedConnection,
  type Connection,
  isAdmitted,
  isLoopback,
  type Proving,
  type Session,
} from '../sessions/session.ts';
import type { Ticker } from '../ticker.ts';
import { handleAck } from './handlers/ack.ts';
import { handleMeasured, handleStatus } from './handlers/beat.ts';
import { handleProgress } from './handlers/progress.ts';
import { handleResult } from './handlers/result.ts';
import { handleWant } from './handlers/want.ts';

export interface DeviceMessagesParts {
  /** Its name, for the ledger. */
  worker: string;
  connections: Connections;
  pendingSettled: PendingSettled;
  admission: Admission;
  spool: ReceiptSpool;
  metrics: Metrics;
  ticker: Ticker;
  /** Of this gateway, while it has one. */
  pass(): SignedPass | undefined;
  messagesPerSecond: number;
  messageBurst: number;
  bytesPerSecond: number;
  byteBurst: number;
  /** This result of the device cannot be taken now. */
  keep(connection: Connection, id: string): void;
  /** The clock that all programs share. */
  now: () => number;
  log: Logger;
}

export class DeviceMessages {
  readonly #parts: DeviceMessagesParts;
  readonly #ticksPerSecond: number;
  readonly #budgetPerTick: number;
  readonly #bytesPerTick: number;
  readonly #beatAnswers = new BeatAnswers();

  constructor(parts: DeviceMessagesParts) {
    this.#parts = parts;
    this.#ticksPerSecond = parts.ticker.ticks(1_000);
    this.#budgetPerTick = (parts.messagesPerSecond * parts.ticker.periodMs) / 1_000;
    this.#bytesPerTick = Math.ceil((parts.bytesPerSecond * parts.ticker.periodMs) / 1_000);
  }

  /** `bytes` is only read during the call. Never throws. */
  receive(connection: Connection, bytes: Uint8Array, isBinary: boolean): void {
    const { connections, metrics, log } = this.#parts;
    if (connection.state.name === 'ended') return;
    connection.framesIn++;
    metrics.framesIn++;
    if (!this.#withinRate(connection, bytes.length)) {
      connections.close(connection, CLOSE.tooFast, 'more frames than allowed');
      return;
    }
    try {
      if (!isBinary) throw new ProtocolError('F-1', 'a text frame');
      this.#dispatch(connection, plainBeat(bytes) ?? decodeDeviceMessage(bytes), bytes.length);
    } catch (error) {
      if (error instanceof ProtocolError) {
        connections.close(connection, CLOSE.protocolError, error.message);
        return;
      }
      metrics.faults++;
      log.error({ err: error, connectionId: connections.logId(connection) }, 'handling a frame failed');
      connections.close(connection, CLOSE.internal, 'internal error');
    }
  }

  #withinRate(connection: Connection, length: number): boolean {
    const { ticker, messageBurst, byteBurst } = this.#parts;
    const passed = ticker.now - connection.heardTick;
    if (passed > 0) {
      connection.heardTick = ticker.now;
      connection.budget = Math.min(messageBurst, connection.budget + passed * this.#budgetPerTick);
      connection.bytes = Math.min(byteBurst, connection.bytes + passed * this.#bytesPerTick);
    }
    // Never below minus one burst, so that a device that slows down is soon served again.
    connection.bytes = Math.max(-byteBurst, connection.bytes - length);
    if (connection.budget < 1) return false;
    connection.budget -= 1;
    return true;
  }

  #dispatch(connection: Connection, message: DeviceMessage | null, length: number): void {
    if (isAdmitted(connection)) {
      if (message) this.#dispatchAdmitted(connection, message, length);
      return;
    }
    if (connection.state.name !== 'proving' || message?.t !== 'prove') {
      throw new ProtocolError('H-7', 'before welcome only prove, once');
    }
    this.#parts.admission.submit(connection as Connection & { state: Proving }, message);
  }

  #dispatchAdmitted(connection: AdmittedConnection, message: DeviceMessage, length: number): void {
    if (message.t === 'prove') throw new ProtocolError('H-7', 'prove after welcome');
    const at = this.#parts.now();
    if (message.t === 'beat') {
      this.#parts.metrics.heartbeats++;
      const settled = this.#parts.pendingSettled.take(connection);
      this.#parts.connections.send(connection, settled?.answer(at) ?? this.#beatAnswers.at(at));
      const pass = message.pass && this.#parts.pass();
      if (pass) this.#parts.connections.send(connection, encodeGatewayMessage({ t: 'pass', ...pass }));
      if (message.measured && !this.#affordsMeasures(connection)) message = withoutMeasures(message);
    }
    if (connection.bytes < 0 && !isLoopback(connection) && this.#leavesOut(connection, message)) return;
    // A session that could not receive the answer has ended.
    if (!isAdmitted(connection)) return;
    const receipt = this.#receipt(connection.state, message, at);
    if (receipt) this.#parts.spool.add(receipt, length);
    if (message.t !== 'beat' || !message.measured) return;
    this.#parts.spool.add(handleMeasured(connection.state, message.measured, at), length);
  }

  /**
   * Measurements may change stored data, so they cost as much as several messages; they never use up the
   * rate.
   */
  #affordsMeasures(connection: Connection): boolean {
    const { messageBurst, metrics } = this.#parts;
    const price = messageBurst / 4;
    if (connection.budget < messageBurst / 2 + price) {
      metrics.measuresDropped++;
      return false;
    }
    connection.budget -= price;
    return true;
  }

  /** Over its byte limit: long messages are not forwarded. Results are sent again; progress need not be. */
  #leavesOut(connection: AdmittedConnection, message: Exclude<DeviceMessage, Prove>): boolean {
    if (message.t === 'progress') this.#parts.metrics.progressDropped++;
    else if (message.t === 'result') this.#parts.keep(connection, message.id);
    else return false;
    return true;
  }

  #receipt(session: Session, message: Exclude<DeviceMessage, Prove>, at: number): Receipt | null {
    const { worker, ticker, metrics } = this.#parts;
    switch (message.t) {
      case 'beat':
        return message.status ? handleStatus(session, message.status, at, worker) : null;
      case 'ack':
        return handleAck(session, message, at);
      case 'result':
        return handleResult(session, message, at, worker);
      case 'want':
        return handleWant(session, message, at);
      case 'progress': {
        const receipt = handleProgress(session, message, at, ticker.now, this.#ticksPerSecond);
        if (!receipt) metrics.progressDropped++;
        return receipt;
      }
    }
  }
}

function withoutMeasures({ measured: _, ...beat }: Beat): Beat {
  return beat;
}
