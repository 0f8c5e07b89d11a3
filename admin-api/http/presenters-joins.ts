/** Certificates, join tokens and join requests of gateways and servers, as the API shows them. */
import { nameOf } from '../../bus/subjects.ts';
import type { JoinRequestView, ServerView } from '../services/join-service.ts';
import type { GatewayCertificate, JoinToken } from '../store/pki-records.ts';
import { time, timeOrNull } from './presenters.ts';
import type { GatewayCertificateDocument, JoinRequestDocument, JoinTokenDocument } from './schemas/joins.ts';
import type {
  ServerDocument,
  ServerJoinRequestDocument,
  ServerJoinTokenDocument,
} from './schemas/servers.ts';

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
  const { id, fingerprint, name, ours } = request;
  return { id, fingerprint, gateway: name, askedAt: time(request.askedAt), ours };
}

export function presentServerJoinRequest(request: JoinRequestView): ServerJoinRequestDocument {
  const { gateway, ...rest } = presentJoinRequest(request);
  return { ...rest, server: gateway };
}

export function presentServerJoinToken(token: JoinToken): ServerJoinTokenDocument {
  const { gateway, ...rest } = presentJoinToken(token);
  return { ...rest, server: nameOf(gateway) };
}

export function presentServer({ name, running, certificate }: ServerView): ServerDocument {
  return { name, running, certificate: presentGatewayCertificate(certificate) };
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
