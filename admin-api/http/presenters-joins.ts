/** Certificates of gateways, join tokens and join requests, as the API shows them. */
import type { JoinRequestView } from '../services/join-service.ts';
import type { GatewayCertificate, JoinToken } from '../store/pki-records.ts';
import { time, timeOrNull } from './presenters.ts';
import type { GatewayCertificateDocument, JoinRequestDocument, JoinTokenDocument } from './schemas/joins.ts';

export function presentJoinToken(token: JoinToken): JoinTokenDocument {
  const { id, gateway, createdBy } = token;
  return {
    ...{ id, gateway, createdBy },
    expiresAt: time(token.expiresAt),
    createdAt: time(token.createdAt),
    usedAt: timeOrNull(token.usedAt),
    revokedAt: timeOrNull(token.revokedAt),
  };
}

export function presentJoinRequest(request: JoinRequestView): JoinRequestDocument {
  const { id, fingerprint, gateway, ours } = request;
  return { id, fingerprint, gateway, askedAt: time(request.askedAt), ours };
}

export function presentGatewayCertificate(certificate: GatewayCertificate): GatewayCertificateDocument {
  const { serial, authority } = certificate;
  return {
    ...{ serial, authority },
    issuedAt: time(certificate.issuedAt),
    expiresAt: time(certificate.expiresAt),
    revokedAt: timeOrNull(certificate.revokedAt),
  };
}
