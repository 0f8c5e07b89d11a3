import type {
  Delivery,
  DirectoryDevice,
  DirectoryGateway,
  Receipt,
  WorkerIdentity,
  WorkerLoad,
} from '../../bus/bus.ts';

export const identity: WorkerIdentity = {
  worker: 'gw1/0',
  gateway: 'gw1',
  host: 'test',
  pid: 4711,
  version: '0.0.0',
  initial: {
    group: 'root',
    runPushServer: true,
    port: 13295,
    address: 'ws://127.0.0.1:13295',
    connectionLimit: 50_000,
  },
};

export const load: WorkerLoad = {
  connections: 0,
  limit: 50_000,
  revision: 1,
  admissionRate: 0,
  bufferedBytes: 0,
  memoryBytes: 1,
  cpu: 0,
};

export const LONG_MS = 60_000;

/** A delivery that can be told from others by its number. */
export function delivery(number: number): Delivery {
  return {
    devices: [`d${number}`],
    frame: Uint8Array.of(0xc1, 0x00, 0xff, number % 256),
    commandId: `c${number}`,
  };
}

export function numbersOf(entries: readonly { delivery: Delivery }[]): number[] {
  return entries.map((entry) => Number(entry.delivery.commandId?.slice(1)));
}

export function numbers(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

export function ack(number: number): Receipt {
  return { kind: 'ack', device: 'd1', command: `c${number}`, at: 1_700_000_000_000 + number };
}

export function acked(batches: readonly (readonly Receipt[])[]): number[] {
  return batches.flat().map((receipt) => (receipt.kind === 'ack' ? Number(receipt.command.slice(1)) : -1));
}

export function device(id: string, revision = 1): DirectoryDevice {
  return {
    id,
    publicKey: new Uint8Array(32).fill(0xc1),
    state: 'active',
    groups: ['root', 'branch'],
    membership: Uint8Array.of(0x81, 0xff, 0x00),
    membershipEdition: [1, revision],
  };
}

export function gateway(name: string, revision = 1): DirectoryGateway {
  const { port, address } = identity.initial;
  const told = { told: { port, address }, former: [{ port: 1, address: 'ws://127.0.0.1:1' }] };
  const keys = [{ body: Buffer.from([0x81]), sig: Buffer.from([revision]) }];
  return { ...identity.initial, name, revision, draining: false, weight: 50_000, ...told, keys };
}

/**
 * Binary parts as plain arrays: whether they came as Buffer or as Uint8Array is nobody's business. Without
 * `from`, which a bus with MACs adds.
 */
export function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, inner) => {
      if (key === 'from') return undefined;
      // A Buffer was already turned into this form when the replacer sees it.
      if (inner?.type === 'Buffer') return inner.data;
      return inner instanceof Uint8Array ? [...inner] : inner;
    }),
  );
}
