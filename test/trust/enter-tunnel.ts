/** The operator's end of a tunnel, with whatever ticket and key somebody has. */
import { nodeFrameCipher } from '../../device/platform/frame-cipher-node.ts';
import { wsLegDial } from '../../device/tunnels/dial-node.ts';
import { Tunnel } from '../../tunnel/index.ts';

export interface Entry {
  tunnel: string;
  gateway: { name: string; url: string };
  worker: number;
  ticket: string;
  key: Uint8Array;
  target: { host: string; port: number };
}

/** What the target says first; `heard` is `null` when nothing came of it, for `why`. */
export interface Entered {
  /** A gateway gave it a place. */
  joined: boolean;
  heard: string | null;
  why: string;
}

/** The tunnel is left again. */
export function enterTunnel({ key, target, ...ticket }: Entry): Promise<Entered> {
  return new Promise((resolve) => {
    let [joined, opened] = [false, false];
    const done = (heard: string | null, why: string) => {
      resolve({ joined, heard, why });
      setImmediate(() => tunnel.close());
    };
    const tunnel: Tunnel = new Tunnel(
      ticket,
      {
        ...{ side: 'operator', dial: wsLegDial(), allocate: Buffer.allocUnsafeSlow },
        cipher: nodeFrameCipher(key, 'operator'),
      },
      {
        joined: () => {
          joined = true;
        },
        connected(connected) {
          if (!connected || opened) return;
          opened = true;
          tunnel.open(target, {
            data: (bytes) => done(Buffer.from(bytes).toString(), 'it answered'),
            end: () => {},
            writable: () => {},
            closed: (reset) => done(null, reset?.reason ?? 'closed'),
          });
        },
        ended: (reason) => done(null, reason),
      },
    );
    tunnel.start().catch((error: Error) => done(null, error.message));
  });
}
