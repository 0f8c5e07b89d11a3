import type { GatewayCredentials } from '../../bus/credentials.ts';
import type { Certificates } from '../../bus/tls/certificates.ts';
import type { GatewayIdentity } from './identity.ts';
import type { IdentityFiles } from './identity-files.ts';

/**
 * The bus's credentials: the current content of the files, so a renewal takes effect. Throws while there is
 * none.
 */
export function credentialsFrom(files: IdentityFiles, certificates: Certificates): () => GatewayCredentials {
  let known: GatewayIdentity | null = null;
  const { identityFile, certificateFile: certFile } = files;
  const take = () => {
    known = files.read() ?? known;
  };
  certificates.watch({ name: 'identity', files: [identityFile], certFile, take });
  return () => {
    if (known === null) take();
    if (known === null) throw new Error('the gateway has not joined');
    return known;
  };
}
