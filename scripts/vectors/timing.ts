/** What devices reckon with time: server time and the floor (S-5), and when to dial again (C-2, C-4, C-5). */
import { NOW } from './keys.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/**
 * `atMs`: by the monotonic clock. `told`: the `time` of a `welcome` or `beat`. `issuedAt`: of an order that
 * verified.
 */
type ClockStep = { atMs: number } & ({ told: number } | { issuedAt: number } | { restart: true });

const clocks: [name: string, steps: (ClockStep & { serverTime: number; floor: number })[]][] = [
  [
    'runs by the monotonic clock from what was told last, also backwards',
    [
      { atMs: 5_000, told: NOW, serverTime: NOW, floor: 0 },
      { atMs: 65_000, told: NOW + 59_000, serverTime: NOW + 59_000, floor: 0 },
    ],
  ],
  [
    'an order raises the floor, and the floor outlives a restart and a gateway that says an earlier time',
    [
      { atMs: 0, told: NOW, serverTime: NOW, floor: 0 },
      { atMs: MINUTE, issuedAt: NOW + 30_000, serverTime: NOW + MINUTE, floor: NOW + 30_000 },
      { atMs: MINUTE, issuedAt: NOW, serverTime: NOW + MINUTE, floor: NOW + 30_000 },
      { atMs: 0, restart: true, serverTime: NOW + 30_000, floor: NOW + 30_000 },
      { atMs: 1_000, told: NOW - HOUR, serverTime: NOW + 30_000, floor: NOW + 30_000 },
    ],
  ],
  [
    'an order of a server whose clock was an hour ahead raises the floor no further than the time told',
    [
      { atMs: 0, told: NOW, serverTime: NOW, floor: 0 },
      { atMs: MINUTE, issuedAt: NOW + HOUR, serverTime: NOW + MINUTE, floor: NOW + MINUTE },
      { atMs: 2 * MINUTE, issuedAt: NOW + 2 * MINUTE, serverTime: NOW + 2 * MINUTE, floor: NOW + 2 * MINUTE },
    ],
  ],
];

/**
 * How connections of one device ended, in turn, and within what time it dials again.
 * `atMs`: when, by the monotonic clock; 0 when absent.
 */
interface EndStep {
  atMs?: number;
  code: number;
  sessionMs: number;
  retryAfterMs?: number;
  gateways?: number;
  withinMs: readonly [from: number, to: number];
}

const lost = (to: number): EndStep => ({ code: 1006, sessionMs: 0, withinMs: [0, to] });

const now = (atMs: number): EndStep => ({ atMs, code: 4001, sessionMs: 0, withinMs: [0, 999] });

const replaced = (sessionMs: number, to: number): EndStep => ({
  code: 4205,
  sessionMs,
  withinMs: [0, to],
});

const backOffs: [name: string, steps: EndStep[]][] = [
  [
    'doubles up to the cap',
    [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000].map((to) => lost(to)),
  ],
  [
    'begins again after a stable session only',
    [
      lost(1_000),
      lost(2_000),
      { code: 1006, sessionMs: 59_999, withinMs: [0, 4_000] },
      { code: 1006, sessionMs: 60_000, withinMs: [0, 1_000] },
      lost(2_000),
    ],
  ],
  [
    'now does not count as a failure, whatever came before it',
    [
      lost(1_000),
      { code: 4000, sessionMs: 0, withinMs: [0, 999] },
      { code: 4001, sessionMs: 1_500, withinMs: [0, 999] },
      lost(2_000),
      { code: 4003, sessionMs: 60_000, withinMs: [0, 999] },
      lost(1_000),
    ],
  ],
  [
    'now is granted ten times at once, and once more every 10 s: beyond that it is a failure',
    [
      ...Array.from({ length: 10 }, () => now(0)),
      { code: 4001, sessionMs: 0, withinMs: [0, 1_000] },
      { code: 4001, sessionMs: 0, withinMs: [0, 2_000] },
      now(10_000),
      { atMs: 10_000, code: 4001, sessionMs: 0, withinMs: [0, 4_000] },
      now(25_000),
      now(31_000),
      { atMs: 32_000, code: 4001, sessionMs: 0, withinMs: [0, 8_000] },
    ],
  ],
  [
    'two programs with one key make room for each other, also after sessions that lasted',
    [
      ...[1_000, 4_000, 16_000, 64_000, 256_000, 900_000, 900_000].map((to) => replaced(60_000, to)),
      lost(1_000),
      replaced(1_799_999, 900_000),
      replaced(1_800_000, 1_000),
    ],
  ],
  [
    'Retry-After comes before the back-off',
    [
      { code: 1006, sessionMs: 0, retryAfterMs: 7_000, withinMs: [7_000, 8_000] },
      { code: 1006, sessionMs: 0, retryAfterMs: 7_000, withinMs: [7_000, 9_000] },
    ],
  ],
  [
    'a code that refuses tries the other gateways, of two that it knows, and then an hour; a session ' +
      'begins again',
    [
      { code: 4404, sessionMs: 60_000, gateways: 2, withinMs: [0, 1_000] },
      { code: 4402, sessionMs: 0, gateways: 2, withinMs: [0, HOUR] },
      { code: 4400, sessionMs: 0, gateways: 2, withinMs: [0, HOUR] },
      { code: 4404, sessionMs: 60_000, gateways: 2, withinMs: [0, 1_000] },
      { code: 4404, sessionMs: 0, gateways: 1, withinMs: [0, HOUR] },
    ],
  ],
  [
    'neither 4400 nor 4205 counts as a failure',
    [
      lost(1_000),
      { code: 4400, sessionMs: 0, withinMs: [0, HOUR] },
      lost(2_000),
      { code: 4205, sessionMs: 0, withinMs: [0, 1_000] },
      lost(4_000),
    ],
  ],
];

export function timingVectors() {
  return {
    serverTime: clocks.map(([name, steps]) => ({ name, steps })),
    backOff: backOffs.map(([name, steps]) => ({ name, steps })),
  };
}
