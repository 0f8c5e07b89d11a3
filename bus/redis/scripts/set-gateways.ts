import { script } from '../script.ts';

/**
 * Puts gateways into the list of an installation. Drops another installation's list, and with 'all' the
 * previous list.
 *
 * KEYS 1 gateways
 * ARGV 1 installation, 2 'all' or 'some', then for each gateway: name, value
 * Result: nothing
 */
export const setGateways = script(`
if ARGV[2] == 'all' or redis.call('HGET', KEYS[1], ' owner') ~= ARGV[1] then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], ' owner', ARGV[1], unpack(ARGV, 3))
`);
