/**
 * Removes what rehearsals left: their devices, enrolment tokens and groups. Their commands stay recorded like
 * any others.
 */
import { isRehearsal } from '../../admin-api/balance/rehearsals.ts';
import { type ApiClient, ApiRefused } from '../api/api-client.ts';
import type { DeviceView, EnrolmentTokenView, GroupView } from '../api/views.ts';
import { forEachAtOnce } from '../for-each-at-once.ts';

const ALL = Number.MAX_SAFE_INTEGER;
const AT_ONCE = 16;

export async function cleanUpGroup(
  api: ApiClient,
  group: string,
  tell: (left: number) => void = () => {},
): Promise<number> {
  const tokens = (await api.list<EnrolmentTokenView>('/v1/enrolment-tokens', {}, ALL)).items;
  for (const token of tokens) {
    if (token.groupId === group && token.revokedAt === null) {
      await remove(api, `/v1/enrolment-tokens/${encodeURIComponent(token.id)}`);
    }
  }
  const devices = (await api.list<DeviceView>('/v1/devices', { group }, ALL)).items;
  let left = devices.length;
  await forEachAtOnce(devices, AT_ONCE, async ({ id }) => {
    await remove(api, `/v1/devices/${encodeURIComponent(id)}`);
    tell(--left);
  });
  await remove(api, `/v1/groups/${encodeURIComponent(group)}`);
  return devices.length;
}

/** Groups of rehearsals that ended before they could clean up, and of those in progress. */
export async function leftBehind(api: ApiClient): Promise<string[]> {
  const groups = (await api.list<GroupView>('/v1/groups', {}, ALL)).items;
  return groups.map(({ id }) => id).filter(isRehearsal);
}

/** It may already be gone. */
async function remove(api: ApiClient, path: string): Promise<void> {
  try {
    await api.request('DELETE', path);
  } catch (error) {
    if (!(error instanceof ApiRefused && error.status === 404)) throw error;
  }
}
