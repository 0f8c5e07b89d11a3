/**
 * One connection, from dialing to its end: the handshake (H-1 to H-10) and frames to messages. It decides
 * nothing about what comes next; `ended` is called exactly once, and nothing after it.
 */

import {
  type Challenge,
  type DeviceMessage,
  decodeGatewayMessage,
  type Edition,
  encodeDeviceMessage,
  type GatewayAddress,
  type GatewayMessage,
  ProtocolError,
  proofBytes,
  type Welcome,
} from '../../protocol/index.ts';
import type { ConnectionEnd } from '../connection-end.ts';
import type { DeviceCrypto } from '../platform/crypto.ts';
import type { DeviceSocket, Dial, SocketClosed } from '../platform/socket.ts';

/** What a connection proves, current for each. */
export interface Credentials {
  deviceId: string;
  privateKey: Uint8Array;
  software: string;
  caps: string[];
  /** The only installation whose gateways get a proof; any if absent. */
  installation?: string | undefined;
  /** Edition of the membership held. */
  membership: Edition;
  /** Edition of the server keys held. */
  keys: Edition;
  /** Edition of the list of gateways held for its group. */
  gateways: Edition;
  /** The name to send, if any (E-5). */
  name?: string | undefined;
  /** To be sent as `displaced` (H-9). */
  displaced?: true | undefined;
}

export interface ConnectionHooks {
  welcome(message: Welcome): void;
  /** Messages of an open session; `redirect`, `order` and `keys` may also come before (H-11). */
  message(message: Exclude<GatewayMessage, { t: 'welcome' | 'challenge' }>): void;
  ended(end: ConnectionEnd): void;
}

type Phase =
  | { is: 'dialing' | 'awaiting challenge' | 'proving' | 'awaiting welcome' }
  | { is: 'open'; since: number }
  | { is: 'over' };

export class Connection {
  readonly address: GatewayAddress;
  readonly #credentials: Credentials;
  readonly #crypto: DeviceCrypto;
  readonly #hooks: ConnectionHooks;
  readonly #socket: DeviceSocket;
  readonly #handshakeTimer: ReturnType<typeof setTimeout> | undefined;
  #phase: Phase = { is: 'dialing' };

  constructor(
    address: GatewayAddress,
    parts: { dial: Dial; crypto: DeviceCrypto; credentials: Credentials; handshakeTimeoutMs: number },
    hooks: ConnectionHooks,
  ) {
    this.address = address;
    this.#credentials = parts.credentials;
    this.#crypto = parts.crypto;
    this.#hooks = hooks;
    this.#socket = parts.dial(address.url, {
      opened: () => {
        if (this.#phase.is === 'dialing') this.#phase = { is: 'awaiting challenge' };
      },
      frame: (bytes) => this.#frame(bytes),
      closed: (how) => this.#end(how),
    });
    // Not earlier: if the url cannot be dialed, `dial` throws, and there is nothing to give up.
    if (this.#phase.is !== 'over') {
      this.#handshakeTimer = setTimeout(() => this.giveUp('no welcome in time'), parts.handshakeTimeoutMs);
    }
  }

  get open(): boolean {
    return this.#phase.is === 'open';
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedBytes;
  }

  /** Dropped if the session is not open: what matters is sent again after the next `welcome`. */
  send(message: DeviceMessage): void {
    if (this.#phase.is === 'open') this.#socket.send(encodeDeviceMessage(message));
  }

  /** Leaves politely (C-6); counts as ended at once. */
  close(reason: string): void {
    if (this.#phase.is === 'over') return;
    if (this.#phase.is === 'dialing') this.#socket.terminate();
    else this.#socket.close(1000, reason);
    this.#end({ code: 1000, reason });
  }

  /** The other end does not answer, or the program ends it at once (C-3). */
  giveUp(reason: string): void {
    if (this.#phase.is === 'over') return;
    this.#socket.terminate();
    this.#end({ code: 1006, reason });
  }

  #end(how: SocketClosed, after?: ConnectionEnd['after']): void {
    const phase = this.#phase;
    if (phase.is === 'over') return;
    this.#phase = { is: 'over' };
    clearTimeout(this.#handshakeTimer);
    const reached = phase.is === 'open' ? 'session' : phase.is === 'dialing' ? 'dialing' : 'handshake';
    const sessionMs = phase.is === 'open' ? performance.now() - phase.since : 0;
    this.#hooks.ended({ ...how, after: after ?? reached, sessionMs });
  }

  #frame(bytes: Uint8Array): void {
    if (this.#phase.is === 'over') return;
    try {
      const message = decodeGatewayMessage(bytes);
      if (message) this.#message(message);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      // The gateway broke a rule: 1002, and a lost connection as far as the device is concerned (F).
      this.#socket.close(1002, error.rule);
      this.#end({ code: 1006, reason: error.message });
    }
  }

  #message(message: GatewayMessage): void {
    const phase = this.#phase;
    if (phase.is === 'open') {
      if (message.t === 'challenge' || message.t === 'welcome') {
        throw new ProtocolError('H-11', `${message.t} in an open session`);
      }
      this.#hooks.message(message);
      return;
    }
    if (message.t === 'redirect' || message.t === 'order' || message.t === 'keys') {
      this.#hooks.message(message);
      return;
    }
    if (message.t === 'challenge' && phase.is === 'awaiting challenge') {
      void this.#prove(message);
      return;
    }
    if (message.t === 'welcome' && phase.is === 'awaiting welcome') {
      clearTimeout(this.#handshakeTimer);
      this.#phase = { is: 'open', since: performance.now() };
      this.#hooks.welcome(message);
      return;
    }
    throw new ProtocolError('H-11', `${message.t} while ${phase.is}`);
  }

  async #prove({ nonce, gateway, installation }: Challenge): Promise<void> {
    const own = this.#credentials.installation;
    if (gateway !== this.address.name) {
      // H-5: a proof made for this name could be used at that gateway.
      this.#refuse(`${this.address.url} says it is ${gateway}`);
      return;
    }
    if (own !== undefined && installation !== own) {
      this.#refuse(`${this.address.url} is a gateway of installation ${installation}, not of ${own}`);
      return;
    }
    this.#phase = { is: 'proving' };
    const { deviceId: device, privateKey, installation: _, ...says } = this.#credentials;
    try {
      const sig = await this.#crypto.sign(privateKey, proofBytes(nonce, gateway, device));
      // Changed while signing: the connection ended.
      if ((this.#phase as Phase).is !== 'proving') return;
      this.#phase = { is: 'awaiting welcome' };
      this.#socket.send(encodeDeviceMessage({ t: 'prove', device, sig, ...says }));
    } catch (error) {
      this.giveUp(`cannot sign: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** H-5 */
  #refuse(why: string): void {
    this.#socket.close(1000, 'H-5');
    this.#end({ code: 1006, reason: `H-5: ${why}` }, 'refused');
  }
}
