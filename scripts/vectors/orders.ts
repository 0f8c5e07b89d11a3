/** Orders: signed bodies, and bodies that devices drop. */
import {
  encodeGatewayMessage,
  encodeOrderBody,
  encodePass,
  LIMITS,
  type OrderBody,
  orderBytes,
  passBytes,
} from '../../protocol/index.ts';
import { DEVICE, DEVICE_KEY, GATEWAY, GATEWAYS, GROUPS, NOW, SERVER_KEY, signWith } from './keys.ts';
import { secretArgs } from './secrets.ts';
import { array, bin, float64, hexOf, long, many, map, nested, str, uint64, view } from './wire.ts';

const DAY = 86_400_000;

const bodies: Record<string, OrderBody> = {
  'command for a device': {
    kind: 'command',
    id: 'cmd-0001',
    type: 'task.start',
    args: { task: 'backup' },
    target: { device: DEVICE },
    issuedAt: NOW,
    expiresAt: NOW + 7 * DAY,
    timeoutMs: 3_600_000,
  },
  'command for a group': {
    kind: 'command',
    id: 'cmd-0002',
    type: 'sync',
    args: {},
    target: { group: 'berlin' },
    issuedAt: NOW,
    expiresAt: NOW + DAY,
    timeoutMs: 900_000,
  },
  'secret command for a device': {
    kind: 'command',
    id: 'cmd-0006',
    type: 'message',
    args: null,
    sealed: secretArgs('cmd-0006', 'device'),
    target: { device: DEVICE },
    issuedAt: NOW,
    expiresAt: NOW + DAY,
    timeoutMs: 900_000,
  },
  'secret command for a group': {
    kind: 'command',
    id: 'cmd-0007',
    type: 'message',
    args: null,
    sealed: secretArgs('cmd-0007', 'group'),
    target: { group: 'berlin' },
    issuedAt: NOW,
    expiresAt: NOW + DAY,
    timeoutMs: 900_000,
  },
  'cancel of a command': {
    kind: 'cancel',
    id: 'cmd-0001',
    target: { device: DEVICE },
    issuedAt: NOW + 60_000,
    expiresAt: NOW + 7 * DAY,
  },
  'cancel of a command that has not come': {
    kind: 'cancel',
    id: 'cmd-0009',
    target: { device: DEVICE },
    issuedAt: NOW + 60_000,
    expiresAt: NOW + DAY,
  },
  membership: {
    kind: 'membership',
    target: { device: DEVICE },
    state: 'active',
    key: DEVICE_KEY.publicKey,
    groups: GROUPS,
    epoch: 1,
    revision: 3,
    issuedAt: NOW,
  },
  'membership of a device that is blocked': {
    kind: 'membership',
    target: { device: DEVICE },
    state: 'blocked',
    groups: GROUPS,
    epoch: 1,
    revision: 4,
    issuedAt: NOW,
  },
  'membership of a device that was deleted': {
    kind: 'membership',
    target: { device: DEVICE },
    state: 'deleted',
    groups: [],
    epoch: 2,
    revision: 1,
    issuedAt: NOW,
  },
  'membership of a device that moved': {
    kind: 'membership',
    target: { device: DEVICE },
    state: 'moved',
    groups: [],
    epoch: 2,
    revision: 2,
    to: { fingerprint: new Uint8Array(32).fill(7), url: 'https://push.example.org/' },
    issuedAt: NOW,
  },
  'list of gateways': {
    kind: 'gateways',
    target: { group: 'kiosks' },
    epoch: 1,
    revision: 5,
    gateways: GATEWAYS,
    issuedAt: NOW,
  },
};

export function signedOrder(name: string) {
  const order = bodies[name];
  if (order === undefined) throw new Error(`no order ${name}`);
  const body = encodeOrderBody(order);
  return { body, sig: signWith(SERVER_KEY, orderBytes(body)) };
}

/** The pass of `GATEWAY` (S-9). */
export function signedPass() {
  const body = encodePass({ gateway: GATEWAY, issuedAt: NOW, expiresAt: NOW + DAY });
  return { body, sig: signWith(SERVER_KEY, passBytes(body)) };
}

export function orderVectors() {
  return Object.entries(bodies).map(([name, order]) => {
    const { body, sig } = signedOrder(name);
    return {
      name,
      order: view(order),
      body: hexOf(body),
      signedBytes: hexOf(orderBytes(body)),
      sig: hexOf(sig),
      frame: hexOf(encodeGatewayMessage({ t: 'order', body, sig })),
    };
  });
}

const plain = {
  kind: str('command'),
  id: str('cmd-0003'),
  type: str('sync'),
  args: map({}),
  target: map({ device: str(DEVICE) }),
  issuedAt: float64(NOW),
  expiresAt: uint64(BigInt(NOW + DAY)),
  timeoutMs: float64(900_000),
};
const plainView = {
  kind: 'command',
  id: 'cmd-0003',
  type: 'sync',
  args: {},
  target: { device: DEVICE },
  issuedAt: NOW,
  expiresAt: NOW + DAY,
  timeoutMs: 900_000,
};

/** Bodies as other encoders write them. `order` is `null` for a kind that is skipped (V-2). */
export function bodyVectors() {
  const { args: _, ...withoutArgs } = plain;
  return [
    { name: 'F-5: integers as float64 and uint64', body: map(plain), order: plainView },
    { name: 'V-2: an unknown field', body: map({ ...plain, colour: str('red') }), order: plainView },
    { name: 'F-6: no args', body: map(withoutArgs), order: { ...plainView, args: null } },
    {
      name: 'V-2: an unknown field of a cancel',
      body: map({
        kind: str('cancel'),
        id: str('cmd-0003'),
        target: map({ device: str(DEVICE) }),
        issuedAt: float64(NOW),
        expiresAt: float64(NOW + DAY),
        why: str('too late'),
      }),
      order: {
        kind: 'cancel',
        id: 'cmd-0003',
        target: { device: DEVICE },
        issuedAt: NOW,
        expiresAt: NOW + DAY,
      },
    },
    {
      name: 'X-3: sealed arguments, the key nil',
      body: map({
        ...withoutArgs,
        sealed: map({ key: 'c0', nonce: bin(new Uint8Array(12)), ct: bin(new Uint8Array(17)) }),
      }),
      order: {
        ...plainView,
        args: null,
        sealed: view({ nonce: new Uint8Array(12), ct: new Uint8Array(17) }),
      },
    },
    { name: 'V-2: an unknown kind', body: map({ kind: str('poem'), id: str('cmd-0003') }), order: null },
  ];
}

export function refusedBodyVectors() {
  const with_ = (
    name: string,
    rule: string,
    change: Record<string, string>,
    base: Record<string, string> = plain,
  ) => ({
    name,
    rule,
    body: map({ ...base, ...change }),
  });
  const sealed = { nonce: bin(new Uint8Array(12)), ct: bin(new Uint8Array(40)) };
  const membership = {
    kind: str('membership'),
    target: map({ device: str(DEVICE) }),
    state: str('active'),
    key: bin(DEVICE_KEY.publicKey),
    groups: array(str('root')),
    epoch: '01',
    revision: '01',
    issuedAt: float64(NOW),
  };
  const listed = (url = str('ws://gw1')) => map({ name: str('gw1'), url });
  const gateways = {
    kind: str('gateways'),
    target: map({ group: str('kiosks') }),
    epoch: '01',
    revision: '01',
    gateways: array(listed()),
    issuedAt: float64(NOW),
  };
  return [
    with_('both a device and a group', 'S-4', { target: map({ device: str(DEVICE), group: str('berlin') }) }),
    with_('neither a device nor a group', 'S-4', { target: map({}) }),
    with_('a target that is text', 'S-4', { target: str(DEVICE) }),
    with_('an id with a space', 'F-6', { id: str('cmd 3') }),
    with_('an expiry that is text', 'F-5', { expiresAt: str('tomorrow') }),
    with_('a fractional issue time', 'F-5', { issuedAt: float64(0.5) }),
    with_('no time to finish', 'F-5', { timeoutMs: '00' }),
    with_('more than seven days to finish', 'F-5', { timeoutMs: float64(LIMITS.timeoutMaxMs + 1) }),
    with_('args nested too deeply', 'F-4', { args: nested(LIMITS.depth + 1) }),
    with_('text in args that is not UTF-8', 'F-6', { args: array('a2fffe') }),
    with_('a key in args that is not UTF-8', 'F-6', { args: '81a2fffec0' }),
    with_('both args and sealed', 'X-3', { sealed: map(sealed) }),
    with_('sealed that is binary', 'F-6', { args: 'c0', sealed: bin(new Uint8Array(40)) }),
    with_('a nonce of 13 bytes', 'F-6', {
      args: 'c0',
      sealed: map({ ...sealed, nonce: bin(new Uint8Array(13)) }),
    }),
    with_('a ciphertext of the tag alone', 'F-6', {
      args: 'c0',
      sealed: map({ ...sealed, ct: bin(new Uint8Array(16)) }),
    }),
    with_('a key without a number', 'F-5', {
      args: 'c0',
      sealed: map({ ...sealed, key: map({ group: str('berlin'), epoch: '01' }) }),
    }),
    with_('a membership of a group', 'S-7', { target: map({ group: str('berlin') }) }, membership),
    with_('a membership with an unknown state', 'F-6', { state: str('lost') }, membership),
    with_('an active member without a key', 'F-6', { key: 'c0' }, membership),
    with_('an active member with a short key', 'F-6', { key: bin(new Uint8Array(31)) }, membership),
    with_('a move to nowhere', 'F-6', { state: str('moved') }, membership),
    with_('membership epoch 0', 'F-5', { epoch: '00' }, membership),
    with_('membership revision 0', 'F-5', { revision: '00' }, membership),
    with_('groups that are binary', 'F-6', { groups: bin(new Uint8Array(2)) }, membership),
    with_('a list for a device', 'F-6', { target: map({ device: str(DEVICE) }) }, gateways),
    with_(
      'a list of more than 128',
      'F-6',
      { gateways: many(LIMITS.listedGateways + 1, listed()) },
      gateways,
    ),
    with_('a list of names', 'F-6', { gateways: array(str('gw1')) }, gateways),
    with_('a url of 513 characters', 'F-6', { gateways: array(listed(long(513))) }, gateways),
    with_('a url that is not UTF-8', 'F-6', { gateways: array(listed('a2fffe')) }, gateways),
    with_('list revision 0', 'F-5', { revision: '00' }, gateways),
    { name: 'a body that is an array', rule: 'F-2', body: array(str('command')) },
  ];
}
