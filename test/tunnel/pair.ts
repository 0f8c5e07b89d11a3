/** Two ends of a tunnel without a network: frames wait in two queues until they are flushed, or are lost. */
import {
  Multiplexer,
  type MultiplexerParts,
  type StreamReset,
  type TunnelStream,
} from '../../tunnel/index.ts';

/** A stream as a program sees it, with everything that was heard. */
export interface Heard {
  stream: TunnelStream;
  bytes: Buffer[];
  /** Bytes of `bytes` that were not consumed; consumed at once unless `hold`. */
  held: number;
  opened: number;
  ended: number;
  writable: number;
  closed: (StreamReset | undefined)[];
}

export class Pair {
  readonly operator: Multiplexer;
  readonly device: Multiplexer;
  readonly faults: string[] = [];
  /** Streams that the device took. */
  readonly served: Heard[] = [];
  /** What the device's program consumes at once. */
  hold = false;
  toDevice: Uint8Array[] = [];
  toOperator: Uint8Array[] = [];
  #pair = 0;

  constructor(more: Partial<MultiplexerParts> = {}) {
    this.operator = new Multiplexer({
      side: 'operator',
      send: (frame) => this.toDevice.push(frame.slice()),
      fault: (error) => this.faults.push(`operator ${error.message}`),
      ...more,
    });
    this.device = new Multiplexer({
      side: 'device',
      send: (frame) => this.toOperator.push(frame.slice()),
      fault: (error) => this.faults.push(`device ${error.message}`),
      accept: () => (stream) => {
        stream.accepted();
        return this.#listen(stream, this.served);
      },
      ...more,
    });
  }

  /**
   * The two come together; what was on its way before is lost unless `late`, in which case it still arrives.
   */
  pair({ late = false } = {}): void {
    if (!late) this.lose();
    this.#pair++;
    this.operator.unpaired();
    this.device.unpaired();
    this.operator.paired(this.#pair);
    this.device.paired(this.#pair);
    this.flush();
  }

  lose(): void {
    this.toDevice = [];
    this.toOperator = [];
  }

  /** Delivers what waits, and what follows from it; `frames` of it at most, each way in turn. */
  flush(frames = Number.POSITIVE_INFINITY): void {
    for (let count = 0; count < frames; count++) {
      const down = this.toDevice.shift();
      if (down) this.device.receive(down);
      const up = this.toOperator.shift();
      if (up) this.operator.receive(up);
      if (!down && !up) return;
    }
  }

  open(port = 22): Heard {
    const heard: Heard[] = [];
    this.operator.open({ host: '127.0.0.1', port }, (stream) => this.#listen(stream, heard));
    return heard[0] as Heard;
  }

  #listen(stream: TunnelStream, list: Heard[]) {
    const heard: Heard = { stream, bytes: [], held: 0, opened: 0, ended: 0, writable: 0, closed: [] };
    list.push(heard);
    return {
      opened: () => heard.opened++,
      data: (bytes: Uint8Array) => {
        heard.bytes.push(Buffer.from(bytes));
        if (this.hold) heard.held += bytes.length;
        else stream.consumed(bytes.length);
      },
      end: () => heard.ended++,
      writable: () => heard.writable++,
      closed: (reset?: StreamReset) => heard.closed.push(reset),
    };
  }
}

export function all(heard: Heard | undefined): Buffer {
  return Buffer.concat(heard?.bytes ?? []);
}

/** `length` bytes that tell where they belong. */
export function pattern(length: number, seed = 0): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0; at < length; at++) bytes[at] = (at * 31 + (at >>> 8) * 7 + seed) & 0xff;
  return bytes;
}
