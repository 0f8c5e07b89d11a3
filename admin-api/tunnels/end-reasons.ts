import { TUNNEL_END_REASONS, type TunnelEndReason } from '../../protocol/index.ts';

/** The sentence for people about an end that a gateway reported. */
const SENTENCES: Record<TunnelEndReason, string> = {
  busy: 'The gateway had no room for it.',
  closed: 'It was closed.',
  'not-joined': 'One side did not come in time.',
  'operator-left': 'The operator left.',
  'device-left': 'The device left, or lost its connection for too long.',
  idle: 'Nothing went through it for too long.',
  life: 'Its time was up.',
  bytes: 'It reached its limit of bytes.',
  moved: 'It continued at another gateway.',
  'gateway-left': 'The gateway stopped, and the tunnel was not moved in time.',
  'gateway-lost': 'The gateway that joined it is gone.',
  protocol: 'One side broke the protocol.',
  forged: 'What passed was changed, repeated or made up between the two sides; nothing of it was used.',
  refused: 'The device refused it.',
};

const reasons: ReadonlySet<string> = new Set(TUNNEL_END_REASONS);

/** A gateway reports one of the codes, or the text that it was told to end the tunnel with. */
export function endOf(said: string | undefined): { code: string; reason: string } {
  if (said !== undefined && reasons.has(said)) {
    return { code: said, reason: SENTENCES[said as TunnelEndReason] };
  }
  return { code: 'closed', reason: said ?? SENTENCES.closed };
}
