/** Names of groups and devices, shown beside their ids. */
import { type ApiClient, ApiRefused } from '../api/api-client.ts';
import { forEachAtOnce } from '../for-each-at-once.ts';

/** `berlin (Berlin)`; the id alone if the name adds nothing or is missing. */
export type NamedId = (id: string) => string;

/** Beyond this number, only ids are shown: each name takes a request. */
const NAMES_MAX = 100;
const AT_ONCE = 16;

export async function namesOf(
  api: ApiClient,
  kind: 'groups' | 'devices',
  ids: Iterable<string | null | undefined>,
): Promise<NamedId> {
  const names = new Map<string, string | undefined>();
  const wanted = [...new Set(ids)].filter((id) => typeof id === 'string').slice(0, NAMES_MAX);
  await forEachAtOnce(wanted, AT_ONCE, async (id) => names.set(id, await nameOf(api, kind, id)));
  return (id) => {
    const name = names.get(id);
    return name === undefined || name === '' || name === id ? id : `${id} (${name})`;
  };
}

/** A deleted object has no name. */
async function nameOf(api: ApiClient, kind: string, id: string): Promise<string | undefined> {
  try {
    return (await api.get<{ name?: string }>(`/v1/${kind}/${encodeURIComponent(id)}`)).name;
  } catch (error) {
    if (error instanceof ApiRefused) return undefined;
    throw error;
  }
}
