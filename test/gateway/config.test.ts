import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { idleTimeoutSeconds, tickMs } from '../../gateway/config.ts';
import { GatewayConfigError, type GatewayConfigInput, parseGatewayConfig } from '../../gateway/index.ts';
import { LIMITS } from '../../protocol/index.ts';

const minimal: GatewayConfigInput = { name: 'gw1', initial: { group: 'root' } };

function problems(input: GatewayConfigInput): readonly string[] {
  try {
    parseGatewayConfig(input);
  } catch (error) {
    if (error instanceof GatewayConfigError) return error.problems;
    throw error;
  }
  return [];
}

test('a name and a group are enough; the rest has defaults, and nothing can be changed afterwards', () => {
  const config = parseGatewayConfig(minimal);
  assert.is(config.initial.port, 13295);
  assert.is(config.initial.connectionLimit, 50_000);
  assert.match(config.initial.address, /^ws:\/\/.+:13295$/);
  assert.is(config.metricsPort, 13296);
  assert.ok(Object.isFrozen(config) && Object.isFrozen(config.initial));
});

test('everything that is wrong is named at once', () => {
  const found = problems({
    name: 'gw 1',
    initial: { group: '', port: 70_000, address: 'http://x' },
    heartbeatIntervalMs: 10,
    leaseTtlMs: 1.5,
    tls: { certFile: 'a.pem', keyFile: '' },
  });
  for (const what of [
    'name',
    'initial.group',
    'initial.port',
    'initial.address',
    'heartbeat',
    'leaseTtl',
    'tls',
  ]) {
    assert.ok(
      found.some((problem) => problem.includes(what)),
      `${what} in ${found.join('; ')}`,
    );
  }
});

test('every allowed heartbeat interval gives a socket idle timeout that does not abort the process', () => {
  for (const heartbeatIntervalMs of [LIMITS.heartbeatMinMs, 5_000, 60_000, LIMITS.heartbeatMaxMs]) {
    const config = parseGatewayConfig({ ...minimal, heartbeatIntervalMs });
    const seconds = idleTimeoutSeconds(config);
    assert.ok(Number.isInteger(seconds) && seconds >= 8 && seconds <= 960, String(seconds));
    assert.ok(tickMs(config) >= 20 && tickMs(config) <= 1_000);
  }
});

test.run();
