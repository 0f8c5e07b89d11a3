/** Operators may write a name where the API expects an id, if only one object has that name. */
import { type ApiClient, ApiRefused, type PageOf } from '../api/api-client.ts';
import { CliError, EXIT } from '../exit-codes.ts';

/** The id of the group or device whose id or exact name is `text`. Throws `CliError`. */
export async function resolveId(api: ApiClient, kind: 'groups' | 'devices', text: string): Promise<string> {
  const word = kind === 'groups' ? 'group' : 'device';
  try {
    return (await api.get<{ id: string }>(`/v1/${kind}/${encodeURIComponent(text)}`)).id;
  } catch (error) {
    // 400: not in the form of an id, so it can only be a name.
    if (!(error instanceof ApiRefused && (error.status === 404 || error.status === 400))) throw error;
  }
  const page: PageOf<{ id: string; name: string }> = await api.list(`/v1/${kind}`, { text }, 1_000);
  const named = page.items.filter((item) => item.name === text);
  if (named.length === 1 && named[0] !== undefined) return named[0].id;
  if (named.length === 0) throw new CliError(EXIT.refused, `There is no ${word} ${JSON.stringify(text)}.`);
  const ids = named.slice(0, 10).map((item) => item.id);
  throw new CliError(
    EXIT.usage,
    `${named.length} ${word}s are called ${JSON.stringify(text)}; name one by its id: ${ids.join(', ')}`,
  );
}
