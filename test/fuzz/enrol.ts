import { sign } from 'node:crypto';
import { enrolBytes } from '../../protocol/index.ts';
import { type Identity, makeIdentity } from '../gateway/raw-device.ts';

/** A device of which nothing but its key and id is kept (E-2). */
export async function enrolIdentity(server: string, token: string): Promise<Identity> {
  const identity = makeIdentity('');
  const proof = sign(null, enrolBytes(token, identity.publicKey), identity.privateKey).toString('base64url');
  const publicKey = Buffer.from(identity.publicKey).toString('base64url');
  const response = await fetch(`${server}/v1/enroll`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token, publicKey, proof }),
  });
  if (response.status !== 201) throw new Error(`not enrolled: ${response.status} ${await response.text()}`);
  return { ...identity, id: ((await response.json()) as { deviceId: string }).deviceId };
}
