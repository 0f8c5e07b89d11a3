import { decodeOrderBody, type GatewayAddress } from '../../protocol/index.ts';
import { type EnrolAnswer, enrolRequest, readEnrolled, secretOf } from '../enrolment.ts';
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
  const request = await enrolRequest(token, identity, more);
  const response = await fetch(`${server}/v1/enroll`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(request.json),
  });
  if (response.status !== 201) throw new Error(`not enrolled: ${response.status} ${await response.text()}`);
  const answer = (await response.json()) as EnrolAnswer;
  const { deviceId: id, list, gateways: names } = readEnrolled(answer);
  const order = list && decodeOrderBody(list.body);
  const listed = order?.kind === 'gateways' ? order.gateways : [];
  const gateways = names.flatMap((name) => listed.find((gateway) => gateway.name === name) ?? []);
  return { ...identity, id, secret: await secretOf(answer, request), gateways };
}
