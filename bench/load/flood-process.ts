/**
 * One process of `flood.ts`: strangers try to connect at a given rate. Each opens a connection and asks for
 * the upgrade. Whoever is let in proves the wrong key, which costs the server as much as a right proof.
 */
import { encodeDeviceMessage, SUBPROTOCOL } from '../../protocol/index.ts';
import { clientFrame } from './frames.ts';
import { deviceId } from './keys.ts';
import { closeTcp, dialTcp, type TcpOwner, type TcpSocket, writeTcp } from './tcp.ts';

export interface FloodStart {
  port: number;
  perSecond: number;
  /** Number of this process among them all. */
  process: number;
  /** Stored devices, whose names the strangers use. */
  devices: number;
}

export interface FloodState {
  /** Attempts begun, and attempts skipped because too many were in progress. */
  begun: number;
  skipped: number;
  refused: number;
  letIn: number;
  /** Closed by the server after the wrong proof. */
  turnedAway: number;
  /** Neither refused nor let in. */
  failed: number;
}

const TICK_MS = 5;
const UNDER_WAY_MAX = 6_000;
const REQUEST = Buffer.from(
  'GET / HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: ' +
    'Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ' +
    `dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ${SUBPROTOCOL}\r\n\r\n`,
  'latin1',
);

const state: FloodState = { begun: 0, skipped: 0, refused: 0, letIn: 0, turnedAway: 0, failed: 0 };
let underWay = 0;

class Attempt implements TcpOwner {
  socket: TcpSocket | null = null;
  readonly #prove: Uint8Array;
  #letIn = false;

  constructor(prove: Uint8Array) {
    this.#prove = prove;
  }

  connected(): void {
    writeTcp(this, REQUEST);
  }

  received(bytes: Uint8Array): void {
    if (this.#letIn) {
      // The challenge may arrive after the upgrade; a close frame ends the attempt.
      if (((bytes[0] as number) & 0x0f) === 8) this.#end('turnedAway');
      return;
    }
    if (bytes[9] !== 0x31) {
      this.#end('refused');
      return;
    }
    state.letIn++;
    this.#letIn = true;
    writeTcp(this, this.#prove);
  }

  ended(): void {
    underWay--;
    state[this.#letIn ? 'turnedAway' : 'failed']++;
  }

  #end(how: 'refused' | 'turnedAway'): void {
    underWay--;
    state[how]++;
    closeTcp(this, 'reset');
  }
}

/** As of a device that misses nothing. */
const HELD = { membership: [1, 1], keys: [1, 1], gateways: [1, Number.MAX_SAFE_INTEGER] } as const;

function proof(device: string, index: number): Uint8Array {
  const sig = new Uint8Array(64).fill(index);
  const rest = { software: 'bench 1', caps: ['sync'] };
  return clientFrame(encodeDeviceMessage({ t: 'prove', device, sig, ...rest, ...HELD }));
}

function begin({ port, perSecond, process: number, devices }: FloodStart): void {
  const proofs = Array.from({ length: 64 }, (_, n) => proof(deviceId(Math.floor((devices * n) / 64)), n));
  const began = performance.now();
  let due = 0;
  setInterval(() => {
    const wanted = ((performance.now() - began) * perSecond) / 1_000;
    for (; due < wanted; due++) {
      if (underWay >= UNDER_WAY_MAX) {
        state.skipped++;
        continue;
      }
      underWay++;
      state.begun++;
      // Addresses of their own, away from those of the devices.
      const source = `127.${251 + (number % 4)}.${Math.floor(due / 200) % 250}.${1 + (due % 200)}`;
      dialTcp(new Attempt(proofs[due % proofs.length] as Uint8Array), '127.0.0.1', port, source);
    }
  }, TICK_MS);
}

process.on('message', (message: FloodStart | 'state') => {
  if (message === 'state') process.send?.(state);
  else begin(message);
});
process.on('disconnect', () => process.exit());
process.send?.('listening');
