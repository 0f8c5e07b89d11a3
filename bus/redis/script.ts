import { createHash } from 'node:crypto';

/** One atomic step in Redis. The file that defines it says what its KEYS, ARGV and result are. */
export interface Script {
  readonly lua: string;
  readonly sha: string;
}

export function script(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') };
}
