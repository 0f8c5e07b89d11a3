/**
 * What the device has to say of an execution, and how it leaves: ends are sealed with the key that only the
 * device and its administration server have, everything else goes as it is.
 */
import {
  type DeviceMessage,
  encodeResultBody,
  RESULT_KEY_BYTES,
  type Result,
  resultBytes,
} from '../../protocol/index.ts';
import type { DeviceCrypto } from '../platform/crypto.ts';
import type { DeviceIdentity, Outcome } from '../storage/store.ts';

/** The end of an execution, before it is sealed. */
export interface EndReport {
  t: 'end';
  id: string;
  outcome: Outcome;
}

export type Report = Exclude<DeviceMessage, Result> | EndReport;

/** Where reports go. */
export interface Link {
  send(report: Report): void;
  readonly bufferedBytes: number;
}

/** Where messages go: a connection. */
interface MessageLink {
  send(message: DeviceMessage): void;
  readonly bufferedBytes: number;
}

export class ResultSealer {
  readonly #deviceId: string;
  readonly #crypto: DeviceCrypto;
  readonly #key: Promise<Uint8Array>;

  constructor({ deviceId, secret }: DeviceIdentity, crypto: DeviceCrypto) {
    this.#deviceId = deviceId;
    this.#crypto = crypto;
    this.#key = crypto.mac(secret, RESULT_KEY_BYTES);
    // Whoever seals learns of it.
    this.#key.catch(() => {});
  }

  async seal({ id, outcome }: EndReport): Promise<Result> {
    const body = encodeResultBody(outcome);
    const mac = await this.#crypto.mac(await this.#key, resultBytes(this.#deviceId, id, body));
    return { t: 'result', id, body, mac };
  }

  /** A result that cannot be sealed now is not sent: it is repeated like any unsettled one. */
  over(link: MessageLink, fault: (error: unknown) => void): Link {
    return {
      send: (report) => {
        if (report.t !== 'end') link.send(report);
        else this.seal(report).then((result) => link.send(result), fault);
      },
      get bufferedBytes() {
        return link.bufferedBytes;
      },
    };
  }
}
