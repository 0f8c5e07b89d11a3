/** The directory as it stands in Redis, for attackers who may write there. */
import type { DirectoryDevice, DirectoryGateway } from '../../bus/bus.ts';
import { decode, encode } from '../../bus/encoding.ts';
import { decodeDevice, encodeDevice, GENERATION_LENGTH } from '../../bus/redis/directory-entry.ts';
import { FIELD_MARK, keysWith } from '../../bus/redis/keys.ts';
import type { Attacker } from './attackers/attacker.ts';

const KEYS = keysWith('pp', false);

/** In the place of a group's signed list. `mark`: gateways read again what they read under another one. */
export async function writeList(attacker: Attacker, group: string, frame: Uint8Array, mark: string) {
  await attacker.make('redis', 'HSET', KEYS.lists, group, frame, FIELD_MARK, mark);
  await attacker.make('redis', 'PUBLISH', KEYS.gatewaysHint, '');
}

/** What a gateway reads of a device. */
export async function entryOf(attacker: Attacker, id: string): Promise<DirectoryDevice> {
  return decodeDevice(id, await stored(attacker, id));
}

/** In the place of the entry that is there. */
export async function writeEntry(attacker: Attacker, device: DirectoryDevice): Promise<void> {
  const generation = (await stored(attacker, device.id)).subarray(0, GENERATION_LENGTH);
  const { digest, value } = encodeDevice(device);
  const entry = Buffer.concat([generation, Buffer.from(digest), value]);
  await attacker.make('redis', 'HSET', KEYS.directory(0), device.id, entry);
}

async function stored(attacker: Attacker, id: string): Promise<Buffer> {
  const entry = await attacker.make('redis', 'HGET', KEYS.directory(0), id);
  if (!entry) throw new Error(`the directory has no ${id}`);
  return Buffer.from(entry as Uint8Array);
}

/** What devices and gateways read of a gateway. */
export async function gatewayEntry(attacker: Attacker, name: string): Promise<DirectoryGateway> {
  const entry = (await attacker.make('redis', 'HGET', KEYS.gateways, name)) as Uint8Array;
  return decode<DirectoryGateway>(entry);
}

/** Gateways are told that there is something new. */
export async function writeGatewayEntry(attacker: Attacker, entry: DirectoryGateway): Promise<void> {
  await attacker.make('redis', 'HSET', KEYS.gateways, entry.name, encode(entry));
  await attacker.make('redis', 'PUBLISH', KEYS.gatewaysHint, '');
}
