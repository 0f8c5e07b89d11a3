import { type DeviceSocket, type Dial, type SocketEvents, wsDial } from '../../device/index.ts';
import {
  decodeDeviceMessage,
  decodeGatewayMessage,
  decodeOrderBody,
  type GatewayMessage,
  type OrderBody,
  ProtocolError,
  type Result,
} from '../../protocol/index.ts';
import { type OpenedMessage, openMessage } from '../results.ts';

/** Nobody listens on the discard port. */
const NOWHERE = 'ws://127.0.0.1:9/';

/** `null` also for what breaks a rule. */
function decoded(frame: Uint8Array): GatewayMessage | null {
  try {
    return decodeGatewayMessage(frame);
  } catch (error) {
    if (error instanceof ProtocolError) return null;
    throw error;
  }
}

/** What passes between one device and its gateways, kept in order, and held back where a test says so. */
export class Wire {
  /** Frames from gateways, as they came. */
  readonly heard: { frame: Uint8Array; message: GatewayMessage | null }[] = [];
  /** What the device wanted to say, whether it was held back or not. */
  readonly said: (OpenedMessage & { heldBack: boolean })[] = [];
  /** Results among it, as they travel. */
  readonly results: Result[] = [];
  /** The device's words that get lost on the way. */
  loses: (message: OpenedMessage) => boolean = () => false;
  /** While false the device cannot reach any gateway. */
  dialable = true;
  #events: SocketEvents | undefined;
  #socket: DeviceSocket | undefined;
  readonly dial: Dial;

  constructor(dial: Dial = wsDial()) {
    this.dial = (url, events) => {
      this.#events = events;
      const socket = dial(this.dialable ? url : NOWHERE, {
        ...events,
        opened: () => events.opened(),
        closed: (how) => events.closed(how),
        frame: (frame) => {
          this.heard.push({ frame: frame.slice(), message: decoded(frame) });
          events.frame(frame);
        },
      });
      this.#socket = socket;
      return {
        send: (frame) => {
          const sent = decodeDeviceMessage(frame);
          const message = sent && openMessage(sent);
          const heldBack = message !== null && this.loses(message);
          if (message) this.said.push({ ...message, heldBack });
          if (sent?.t === 'result') this.results.push({ ...sent, body: sent.body.slice() });
          if (!heldBack) socket.send(frame);
        },
        close: (code, reason) => socket.close(code, reason),
        terminate: () => socket.terminate(),
        get bufferedBytes() {
          return socket.bufferedBytes;
        },
      };
    };
  }

  /** Says something the device did not say, over its connection. */
  inject(frame: Uint8Array): void {
    this.#socket?.send(frame);
  }

  /** Brings a frame to the device (again), as if the gateway had sent it now. */
  bring(frame: Uint8Array): void {
    this.#events?.frame(frame);
  }

  /** The connection breaks without a close frame. */
  cut(): void {
    this.#socket?.terminate();
  }

  /** Orders that came, by their frames. */
  get orders(): Uint8Array[] {
    return this.heard.filter(({ message }) => message?.t === 'order').map(({ frame }) => frame);
  }
  /** The frame of an order that came. */
  orderFrame(matches: (order: OrderBody) => boolean): Uint8Array | undefined {
    return this.heard.find(({ message }) => {
      const order = message?.t === 'order' ? decodeOrderBody(message.body) : null;
      return order !== null && matches(order);
    })?.frame;
  }
}
