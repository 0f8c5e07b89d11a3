import { sign } from 'node:crypto';
import { enrolBytes, type GatewayAddress } from '../../protocol/index.ts';
import { type Identity, makeIdentity } from '../gateway/raw-device.ts';

export interface HandMade extends Identity {
  secret: Uint8Array;
  /** The gateways of the answer. */
  gateways: GatewayAddress[];
}

/** A device of which nothing but its identity is kept: section E by hand. */
export async function enrolByHand(
  server: string,
  token: string,
  more: { name?: string } = {},
): Promise<HandMade> {
  const identity = makeIdentity('');
  const proof = sign(null, enrolBytes(token, identity.publicKey), identity.privateKey).toString('base64url');
  const publicKey = Buffer.from(identity.publicKey).toString('base64url');
  const response = await fetch(`${server}/v1/enroll`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token, publicKey, proof, ...more }),
  });
  if (response.status !== 201) throw new Error(`not enrolled: ${response.status} ${await response.text()}`);
  const answer = (await response.json()) as { deviceId: string; secret: string; gateways: GatewayAddress[] };
  const { deviceId: id, secret, gateways } = answer;
  return { ...identity, id, secret: Buffer.from(secret, 'base64url'), gateways };
}
