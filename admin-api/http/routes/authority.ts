import type { AuthorityView } from '../../services/authority-service.ts';
import { actorOf } from '../auth.ts';
import { type App, operation } from '../operation.ts';
import { time } from '../presenters.ts';
import { type AuthorityDocument, AuthoritySchema } from '../schemas/authority.ts';
import { Ref } from '../schemas/common.ts';
import type { HttpServices } from '../services.ts';

const tag = 'Gateways';
const answers = { 200: { description: 'The authority.', schema: Ref(AuthoritySchema) } };

function present({ phase, authorities, waitingFor }: AuthorityView): AuthorityDocument {
  return {
    phase,
    authorities: authorities.map(({ number, state, fingerprint, createdAt, expiresAt }) => ({
      ...{ number, state, fingerprint },
      createdAt: time(createdAt),
      expiresAt: time(expiresAt),
    })),
    waitingFor,
  };
}

export function authorityRoutes(app: App, { authorities }: HttpServices): void {
  app.get(
    '/v1/authority',
    operation({
      access: 'viewer',
      operationId: 'getAuthority',
      tag,
      summary: 'Read the internal authority and its rotation',
      answers,
    }),
    async () => present(await authorities.show()),
  );

  app.post(
    '/v1/authority/rotate',
    operation({
      access: 'admin',
      operationId: 'rotateAuthority',
      tag,
      summary: 'Begin a rotation of the internal authority',
      description: 'Makes the next authority. Gateways trust it from then on, and do not use it yet.',
      answers,
      problems: ['bad-request', 'conflict'],
    }),
    async (request) => present(await authorities.rotate(actorOf(request))),
  );

  app.post(
    '/v1/authority/advance',
    operation({
      access: 'admin',
      operationId: 'advanceAuthority',
      tag,
      summary: 'Go to the next phase of a rotation',
      description:
        'First the next authority signs, then the old one is dropped, which cannot be rolled back. Refused ' +
        'while a gateway that runs has not taken up the last step.',
      answers,
      problems: ['bad-request', 'conflict'],
    }),
    async (request) => present(await authorities.advance(actorOf(request))),
  );

  app.post(
    '/v1/authority/rollback',
    operation({
      access: 'admin',
      operationId: 'rollBackAuthority',
      tag,
      summary: 'Go back to the phase before',
      answers,
      problems: ['bad-request', 'conflict'],
    }),
    async (request) => present(await authorities.rollback(actorOf(request))),
  );
}
