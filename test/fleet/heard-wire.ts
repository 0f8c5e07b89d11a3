/**
 * A device's connection that knows when its gateway had each result: an answer to a beat proves that the
 * gateway has read all that the device said before that beat.
 */
import { type Dial, wsDial } from '../../device/index.ts';
import { decodeDeviceMessage, decodeGatewayMessage, decodeResultBody } from '../../protocol/index.ts';

/**
 * Calls `heard` for each command whose result the gateway has, soon after it had it; again for one that was
 * said again.
 */
export function heardDial(heard: (command: string) => void, dial: Dial = wsDial()): Dial {
  return (url, events) => {
    /** Results that were said since the last beat, and before it. */
    let since = new Set<string>();
    let before = new Set<string>();
    const socket = dial(url, {
      ...events,
      frame(bytes) {
        const message = decodeGatewayMessage(bytes);
        // The gateway had no room for it, so it counts as not said.
        if (message?.t === 'keep') for (const said of [since, before]) said.delete(message.id);
        if (message?.t === 'beat') {
          for (const command of before) heard(command);
          before = new Set();
        }
        events.frame(bytes);
      },
    });
    return {
      send(frame) {
        const message = decodeDeviceMessage(frame);
        if (message?.t === 'result' && decodeResultBody(message.body).state === 'succeeded') {
          since.add(message.id);
        }
        if (message?.t === 'beat') {
          for (const command of since) before.add(command);
          since = new Set();
        }
        socket.send(frame);
      },
      close: (code, reason) => socket.close(code, reason),
      terminate: () => socket.terminate(),
      get bufferedBytes() {
        return socket.bufferedBytes;
      },
    };
  };
}
