/** What an administration server does to a bus before gateways can admit anybody. */
import type { Bus, DirectoryDevice, Installation } from '../bus/bus.ts';

export const INSTALLATION: Installation = { id: 'i-test', epoch: 1 };
/** No test takes so long. */
const VOUCHED_MS = 600_000;

/** Idempotent. */
export async function claim(bus: Bus, installation = INSTALLATION): Promise<void> {
  await bus.owner.claim(bus.owner.current ?? installation);
}

/** The directory becomes whole, with these devices; resolves with its generation. */
export async function writeDirectory(bus: Bus, devices: readonly DirectoryDevice[] = []): Promise<string> {
  await claim(bus);
  const writing = await bus.directory.begin();
  if (writing === null) throw new Error('somebody else writes the directory');
  await writing.put(devices);
  const generation = await writing.finish();
  await bus.directory.vouch(generation, VOUCHED_MS);
  return generation;
}
