/**
 * Sends reports about executions: results are authenticated with the key that only the device and its
 * administration server have; everything else is sent unchanged.
 */
import {
  type DeviceMessage,
  type Encrypted,
  encodeResultBody,
  encodeSealedBody,
  type Result,
  resultBytes,
} from '../../protocol/index.ts';
import type { Outcome } from '../storage/store.ts';
import type { DeviceKeys } from './device-keys.ts';

/** The outcome of an execution, before it is authenticated. */
export interface EndReport {
  t: 'end';
  id: string;
  outcome: Outcome;
  /** The whole outcome, sealed, where that is of a secret command. */
  sealed?: Encrypted;
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

export class ResultAuthenticator {
  readonly #keys: DeviceKeys;

  constructor(keys: DeviceKeys) {
    this.#keys = keys;
  }

  async authenticate({ id, outcome, sealed }: EndReport): Promise<Result> {
    const body = sealed ? encodeSealedBody(sealed) : encodeResultBody(outcome);
    return { t: 'result', id, body, mac: await this.#keys.mac(resultBytes(this.#keys.deviceId, id, body)) };
  }

  /** A result that cannot be authenticated now is not sent: it is repeated like any unsettled one. */
  over(link: MessageLink, fault: (error: unknown) => void): Link {
    return {
      send: (report) => {
        if (report.t !== 'end') link.send(report);
        else this.authenticate(report).then((result) => link.send(result), fault);
      },
      get bufferedBytes() {
        return link.bufferedBytes;
      },
    };
  }
}
