import { toBase64url } from '../../../protocol/index.ts';
import type { KeysView } from '../../services/keys-service.ts';
import { actorOf } from '../auth.ts';
import { type App, operation } from '../operation.ts';
import { Ref } from '../schemas/common.ts';
import {
  KeySignatures,
  RootReplacement,
  type ServerKeysDocument,
  ServerKeysSchema,
} from '../schemas/keys.ts';
import type { HttpServices } from '../services.ts';

const tag = 'Administration';
const answers = { 200: { description: 'The keys after the change.', schema: Ref(ServerKeysSchema) } };

export function keysRoutes(app: App, { keys }: HttpServices): void {
  app.get(
    '/v1/keys',
    operation({
      access: 'admin',
      operationId: 'getServerKeys',
      tag,
      summary: 'Read which keys sign for the installation',
      answers: { 200: { description: 'The keys.', schema: Ref(ServerKeysSchema) } },
    }),
    async () => present(await keys.view()),
  );

  app.post(
    '/v1/keys/rotation',
    operation({
      access: 'admin',
      operationId: 'rotateSigningKey',
      tag,
      summary: 'Make the next signing key',
      description:
        'Devices trust it at once. It signs when all live gateways carry the document that names it.',
      answers,
      problems: ['bad-request', 'conflict'],
    }),
    async (request) => present(await keys.rotate(actorOf(request))),
  );

  app.post(
    '/v1/keys/retirement',
    operation({
      access: 'admin',
      operationId: 'retireSigningKeys',
      tag,
      summary: 'Stop trusting previous signing keys',
      description: 'Their private parts are deleted.',
      answers,
      problems: ['bad-request', 'conflict'],
    }),
    async (request) => present(await keys.retire(actorOf(request))),
  );

  app.post(
    '/v1/keys/root',
    operation({
      access: 'admin',
      operationId: 'replaceRootKey',
      tag,
      summary: 'Replace the root key',
      description:
        'Both root keys sign. A signature by one that is kept elsewhere is awaited: see `pending`. ' +
        'The fingerprint of the installation changes, so earlier enrolment tokens become useless.',
      body: RootReplacement,
      answers,
      problems: ['conflict'],
    }),
    async (request) => {
      const { publicKey } = request.body;
      return present(
        await keys.replaceRoot(
          publicKey === undefined ? null : Buffer.from(publicKey, 'base64url'),
          actorOf(request),
        ),
      );
    },
  );

  app.post(
    '/v1/keys/signatures',
    operation({
      access: 'admin',
      operationId: 'signServerKeys',
      tag,
      summary: 'Sign the pending document with root keys kept elsewhere',
      body: KeySignatures,
      answers,
      problems: ['conflict'],
    }),
    async (request) => {
      const { body, sig, previousSig } = request.body;
      const signatures = {
        body: Buffer.from(body, 'base64url'),
        ...(sig !== undefined && { sig: Buffer.from(sig, 'base64url') }),
        ...(previousSig !== undefined && { previousSig: Buffer.from(previousSig, 'base64url') }),
      };
      return present(await keys.sign(signatures, actorOf(request)));
    },
  );
}

function present(view: KeysView): ServerKeysDocument {
  const { keys, next } = view;
  const signing = (state: 'previous' | 'active' | 'next') => (key: Uint8Array) => ({
    publicKey: toBase64url(key),
    state,
  });
  return {
    fingerprint: toBase64url(view.fingerprint),
    epoch: keys.epoch,
    revision: keys.revision,
    document: toBase64url(view.document.body),
    sig: toBase64url(view.document.sig),
    root: { publicKey: toBase64url(keys.root), kept: view.rootHere ? 'here' : 'elsewhere' },
    signing: [
      ...view.previous.map(signing('previous')),
      signing('active')(view.active),
      ...(next ? [signing('next')(next)] : []),
    ],
    activeSince: new Date(view.activeSince).toISOString(),
    waitingFor: view.waitingFor,
    notRetirable: view.notRetirable,
    pending: view.pending ? toBase64url(view.pending) : null,
  };
}
