import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError, loadConfig } from '../../cli/config/load.ts';
import { OPTIONS, type OptionSpec, optionsOf, PROGRAMS } from '../../cli/config/options.ts';
import { redisSettings } from '../../cli/config/redis.ts';
import { parseValue } from '../../cli/config/values.ts';
import { makeCertificates } from '../services/certificates.ts';

const test = suite<{ folder: string }>('configuration');

test.before((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'pushpoint-config-'));
});
test.after(({ folder }) => rmSync(folder, { recursive: true, force: true }));

function file(folder: string, text: string): string {
  const path = join(folder, `${Math.random().toString(36).slice(2)}.yaml`);
  writeFileSync(path, text);
  return path;
}

function problemsOf(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (error) {
    assert.instance(error, ConfigError);
    assert.is((error as ConfigError).exitCode, 2);
    return (error as ConfigError).problems;
  }
  throw new Error('should have been refused');
}

test('every default in the table is an allowed value of its own option', () => {
  for (const option of OPTIONS as readonly OptionSpec[]) {
    if (option.default !== undefined)
      assert.ok(parseValue(option, option.default) !== undefined, option.name);
  }
});

test('no program has two settings with one name or one variable', () => {
  for (const program of PROGRAMS) {
    for (const key of ['name', 'env'] as const) {
      const all = optionsOf(program).map((option) => option[key]);
      assert.is(new Set(all).size, all.length, `${program}: ${all.join(' ')}`);
    }
  }
});

test('a flag beats the environment, which beats the file, which beats the default', ({ folder }) => {
  const config = file(folder, 'api-port: 1003\nport: 2003\nname: from-file\n');
  const loaded = loadConfig('start', {
    flags: { config, apiPort: '1001' },
    env: { PUSHPOINT_API_LISTEN_PORT: '1002', PUSHPOINT_LISTEN_PORT: '2002' },
  });
  assert.is(loaded.apiPort, 1001);
  assert.is(loaded.port, 2002);
  assert.is(loaded.name, 'from-file');
  assert.is(loaded.apiHost, '127.0.0.1');
  assert.is(loaded.heartbeatInterval, 60_000);
  assert.ok(Object.isFrozen(loaded));
});

test('the line ends of a file from Windows are no part of a value, a secret or a path among them', ({
  folder,
}) => {
  const password = join(folder, 'password');
  writeFileSync(password, 'hunter2\r');
  const env = {
    PUSHPOINT_SERVER: 'https://a.example\r',
    PUSHPOINT_ENROLMENT_TOKEN: 'token\r\n',
    PUSHPOINT_AGENT_STATE: '/var/lib/x\r',
    PUSHPOINT_LOG_LEVEL: 'debug\r',
  };
  const agent = loadConfig('agent', { flags: {}, env });
  assert.is(agent.server, 'https://a.example');
  assert.is(agent.token, 'token');
  assert.is(agent.state, '/var/lib/x');
  assert.is(agent.logLevel, 'debug');
  const flags = { redisUrl: 'redis://h', redisPasswordFile: `${password}\r` };
  assert.is(redisSettings(loadConfig('admin', { flags, env: {} })).password, 'hunter2');
});

test('an empty variable counts as not set', () => {
  assert.is(loadConfig('start', { flags: {}, env: { PUSHPOINT_LISTEN_PORT: '' } }).port, 13295);
});

test('the file may be named by the environment', ({ folder }) => {
  const env = { PUSHPOINT_CONFIG: file(folder, 'data-dir: elsewhere\n') };
  assert.is(loadConfig('start', { flags: {}, env }).dataDir, 'elsewhere');
});

test('all errors are reported at once, each with its source, its value and the allowed values', ({
  folder,
}) => {
  const config = file(folder, 'api-port: soon\nlog-level: loud\nno-such-key: 1\n');
  const problems = problemsOf(() =>
    loadConfig('start', { flags: { config, port: '70000' }, env: { PUSHPOINT_HEARTBEAT_INTERVAL: '60' } }),
  );
  const text = problems.join('\n');
  assert.is(problems.length, 5, text);
  assert.match(text, /--port: "70000" is not allowed; expected a port number, 0 to 65535/);
  assert.match(text, /environment PUSHPOINT_HEARTBEAT_INTERVAL: "60" is not allowed; expected a duration/);
  assert.match(text, /\.yaml:1: api-port: "soon" is not allowed/);
  assert.match(text, /\.yaml:2: log-level: "loud" is not allowed; expected one of trace, /);
  assert.match(text, /\.yaml:3: unknown key "no-such-key"/);
});

test('a key of another program is skipped, so that one file can serve a whole machine', ({ folder }) => {
  const config = file(folder, 'api-port: 9090\nstate: /var/lib/agent\ntasks: {}\n');
  assert.is(loadConfig('admin', { flags: { config, redisUrl: 'redis://h' }, env: {} }).apiPort, 9090);
});

test('admin and gateway cannot run without Redis, and a gateway not without a name', () => {
  assert.match(
    problemsOf(() => loadConfig('admin', { flags: {}, env: {} })).join(),
    /REDIS_URL\) is required/,
  );
  const problems = problemsOf(() => loadConfig('gateway', { flags: {}, env: {} }));
  assert.match(problems.join(), /--name/);
  assert.match(problems.join(), /REDIS_URL/);
});

test('Redis passwords may come from files, read to the end of the line; certificates always do', async ({
  folder,
}) => {
  const certificates = await makeCertificates();
  const path = (name: string, text: string) => {
    const at = join(folder, name);
    writeFileSync(at, text);
    return at;
  };
  const env = {
    REDIS_URL: 'rediss+sentinel://me@a,b/main',
    REDIS_PASSWORD_FILE: path('one', 'one \n'),
    REDIS_SENTINEL_PASSWORD_FILE: path('two', 'two'),
    REDIS_SENTINEL_USER: 'you',
    REDIS_TLS_CA: certificates.ca,
  };
  assert.equal(redisSettings(loadConfig('admin', { flags: {}, env })), {
    url: env.REDIS_URL,
    prefix: 'pp',
    password: 'one ',
    sentinelUsername: 'you',
    sentinelPassword: 'two',
    tls: { files: { ca: certificates.ca } },
  });
  await certificates.remove();
});

test('errors about Redis are reported at once, without its secrets', ({ folder }) => {
  const load = (env: NodeJS.ProcessEnv) =>
    problemsOf(() => redisSettings(loadConfig('admin', { flags: {}, env }))).join('\n');
  const missing = join(folder, 'missing');
  const text = load({
    REDIS_URL: 'redis://h',
    REDIS_PASSWORD: 'hunter2',
    REDIS_PASSWORD_FILE: missing,
    REDIS_TLS_CA: missing,
  });
  assert.match(text, /--redis-password and --redis-password-file must not both be given/);
  assert.match(text, /--redis-tls-ca: .*missing cannot be read \(ENOENT\)/);
  assert.match(
    load({ REDIS_URL: 'redis://:hunter2@a,b' }),
    /--redis-url \(or REDIS_URL\): redis:\/\/ takes one server/,
  );
  assert.match(load({ REDIS_URL: 'redis://h', REDIS_TLS_VERIFY: 'no' }), /begins with redis, not rediss/);
  assert.not.match(text + load({ REDIS_URL: 'redis://:hunter2@a,b' }), /hunter2/);
});

test('secrets are not repeated in errors', () => {
  const env = { REDIS_URL: 'http://user:hunter2@host', DATABASE_URL: 'mysql://root:hunter2@db' };
  const text = problemsOf(() => loadConfig('admin', { flags: {}, env })).join('\n');
  assert.not.match(text, /hunter2/);
  assert.match(text, /environment REDIS_URL: the value \(not shown\) is not allowed/);
});

test('a file that is missing, no YAML, or no map is an error and not a silent default', ({ folder }) => {
  const load = (config: string) => () => loadConfig('start', { flags: { config }, env: {} });
  assert.match(problemsOf(load(join(folder, 'missing.yaml'))).join(), /cannot be read \(ENOENT\)/);
  assert.match(problemsOf(load(file(folder, 'a: [1\n'))).join(), /:\d+: not valid YAML/);
  assert.match(problemsOf(load(file(folder, '- port\n'))).join(), /must be a map/);
  assert.match(problemsOf(load(file(folder, 'port: 1\nport: 2\n'))).join(), /not valid YAML/);
});

test('wrong types in the file are refused', ({ folder }) => {
  const config = file(folder, 'port: 1.5\napi-host: [a]\ndata-dir:\nconnection-limit: true\n');
  assert.is(problemsOf(() => loadConfig('start', { flags: { config }, env: {} })).length, 4);
});

test.run();
