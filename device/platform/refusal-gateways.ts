import { ID_PATTERN } from '../../protocol/index.ts';

/** Entries that are read; a gateway names no more (C-5). */
const MAX = 8;

/** A Pushpoint-Gateways header: `name, name`. Other entries are left out. */
export function refusalGateways(header: string | string[] | undefined): string[] {
  if (header === undefined) return [];
  const names = [header].flat().join(',').split(',', MAX);
  return names.map((name) => name.trim()).filter((name) => ID_PATTERN.test(name));
}
