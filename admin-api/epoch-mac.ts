import type { EpochMac, Installation } from '../bus/bus.ts';
import type { SecretBox } from './at-rest/secret-box.ts';
import { DeviceSecrets } from './device-secrets.ts';
import { opensslMac } from './message-code.ts';
import type { Meta } from './store/store.ts';

/**
 * The MAC of an epoch, made with a secret that all administration servers of the installation share,
 * including those on an older copy of the database.
 */
export async function loadEpochMac(meta: Meta, box?: SecretBox): Promise<EpochMac> {
  const key = (await DeviceSecrets.load(meta, box)).secretFor('epoch');
  return {
    of: ({ id, epoch }: Installation) =>
      Buffer.from(opensslMac(key, Buffer.from(`${id}\0${epoch}`))).toString('base64url'),
  };
}
