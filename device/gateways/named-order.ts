import type { GatewayAddress } from '../../protocol/index.ts';

/** In the order of these names; what they leave out comes behind, as it was (PROTOCOL.md, G-1). */
export function inNamedOrder(list: readonly GatewayAddress[], names: readonly string[]): GatewayAddress[] {
  const place = ({ name }: GatewayAddress) => {
    const index = names.indexOf(name);
    return index < 0 ? names.length : index;
  };
  return [...list].sort((a, b) => place(a) - place(b));
}
