import { type Endpoint, endpointName } from './settings.ts';

/** What a server reports in INFO; empty strings where INFO is not permitted. */
export interface ServerFacts {
  role: string;
  /** Names one history of the data: another after every restart and with every primary. */
  history: string;
  version: string;
  loading: boolean;
  maxmemoryPolicy: string;
  appendOnly: boolean | null;
}

export function parseInfo(text: string): ServerFacts {
  const found = new Map<string, string>();
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) found.set(line.slice(0, colon), line.slice(colon + 1));
  }
  const appendOnly = found.get('aof_enabled');
  return {
    role: found.get('role') ?? '',
    history: found.get('master_replid') ?? '',
    version: found.get('redis_version') ?? '',
    loading: (found.get('loading') ?? '0') !== '0',
    maxmemoryPolicy: found.get('maxmemory_policy') ?? '',
    appendOnly: appendOnly === undefined ? null : appendOnly === '1',
  };
}

/** Why this server cannot be used; `null` when it can. */
export function objection(facts: ServerFacts, cluster: boolean): string | null {
  if (facts.loading) return 'it loads its data';
  if (facts.role === 'slave') return 'it is a replica';
  const major = Number.parseInt(facts.version, 10);
  if (cluster && major < 7) return `Redis ${facts.version} has no sharded pub/sub: a cluster needs 7.0`;
  return null;
}

/** What an operator should change. `saves`: the setting `save`, `null` when it could not be read. */
export function warningsAbout(facts: ServerFacts, saves: string | null, endpoint: Endpoint): string[] {
  const warnings: string[] = [];
  const server = endpointName(endpoint);
  if (facts.maxmemoryPolicy !== '' && facts.maxmemoryPolicy !== 'noeviction') {
    warnings.push(
      `${server}: maxmemory-policy is ${facts.maxmemoryPolicy}; with anything but noeviction Redis ` +
        'discards stored data',
    );
  }
  if (facts.appendOnly === false && saves === '') {
    warnings.push(`${server}: persistence is off (appendonly no, no save); every restart empties Redis`);
  }
  return warnings;
}
