/**
 * Commands all devices of a group over the HTTP API, follows the command as it happens, and says what did not
 * succeed. Ends with 0 only when everything did, so that a scheduler notices.
 *
 *   PUSHPOINT_TOKEN=ppt_... node examples/operator-script/nightly-sync.js [group]
 *
 * The token needs the role operator: pushpoint tokens create nightly-sync --role operator --ttl 90d
 */
const server = process.env.PUSHPOINT_SERVER ?? 'http://127.0.0.1:8080';
const group = process.argv[2] ?? 'all';

async function api(method, path, { body, headers } = {}) {
  const response = await fetch(`${server}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${process.env.PUSHPOINT_TOKEN}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const answer = await response.json();
  // Every refusal is a problem document: what happened, and a code for programs.
  if (!response.ok) throw new Error(`${method} ${path}: ${answer.detail} (${answer.code})`);
  return answer;
}

/**
 * Asks again after a lost answer or a restart of the server; the key makes sure that it is one command all
 * the same.
 */
async function command(body) {
  const headers = { 'idempotency-key': `nightly-${new Date().toISOString().slice(0, 13)}-${group}` };
  for (let attempt = 1; ; attempt++) {
    try {
      return await api('POST', '/v1/commands', { body, headers });
    } catch (error) {
      if (attempt === 5 || !(error instanceof TypeError)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1_000 * attempt));
    }
  }
}

// Devices that are away have an hour to come; after that their execution ends as expired.
const { id } = await command({ type: 'sync', target: { group }, ttl: 3_600 });
console.log(`command ${id}`);

let state = await api('GET', `/v1/commands/${id}`);
while (state.finishedAt === null) {
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  state = await api('GET', `/v1/commands/${id}`);
}

const { total, succeeded } = state.counts;
console.log(`${succeeded} of ${total} succeeded`);
for (const wrong of ['failed', 'rejected', 'timed-out', 'expired', 'canceled', 'superseded']) {
  if (!state.counts[wrong]) continue;
  const { items } = await api('GET', `/v1/commands/${id}/executions?state=${wrong}&limit=100`);
  for (const { deviceId, reason } of items) console.log(`${deviceId}: ${wrong}, ${reason}`);
}
process.exitCode = succeeded === total ? 0 : 1;
