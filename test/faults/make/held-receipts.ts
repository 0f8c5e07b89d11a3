/**
 * What Redis is told so that receipts wait where they are: gateways cannot append them, and servers cannot
 * take them.
 */
type RedisCommand = [command: string, ...args: string[]];

/** All keys but those with the hash tag `{receipts}` may be written. */
const OTHERS = ['%W~*:[^{]*', '%W~*:{[^r]*', '%W~*:{r[^e]*', '%W~*:{re[^c]*'];
const KEYS = ['acl', 'setuser', 'default', 'resetkeys'] as const;

export function holdReceipts(): RedisCommand[] {
  return [[...KEYS, '%R~*', ...OTHERS]];
}

export function allowReceipts(): RedisCommand[] {
  return [[...KEYS, 'allkeys']];
}
