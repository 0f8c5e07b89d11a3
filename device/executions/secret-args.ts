import { type CommandOrder, decodeArgs, ProtocolError, sealedArgsBytes } from '../../protocol/index.ts';
import type { DeviceKeys } from './device-keys.ts';
import type { GroupKeys } from './group-keys.ts';

/**
 * The secret command with its arguments. `null` while their key is missing, which is then requested.
 * `unreadable` if they were not sealed for this command with that key.
 */
export async function openArgs(
  order: CommandOrder,
  keys: DeviceKeys,
  groupKeys: GroupKeys,
): Promise<CommandOrder | null | 'unreadable'> {
  const { id, sealed } = order;
  if (!sealed) return order;
  const key = sealed.key ? groupKeys.get(sealed.key) : 'secret';
  if (key === undefined) {
    if (sealed.key) groupKeys.want(sealed.key);
    return null;
  }
  const about = sealedArgsBytes(id, sealed.key ?? { device: keys.deviceId });
  const plain = await keys.open(key, sealed, about);
  if (plain === null) return 'unreadable';
  try {
    return { ...order, args: decodeArgs(plain) };
  } catch (error) {
    if (error instanceof ProtocolError) return 'unreadable';
    throw error;
  }
}
