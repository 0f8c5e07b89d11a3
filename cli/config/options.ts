/**
 * Every setting of every program, once. Flags, environment variables, the keys of the YAML file, help texts
 * and docs/configuration.md all come from this table.
 */
export const PROGRAMS = [
  'start',
  'admin',
  'gateway',
  'agent',
  'restored',
  'root-export',
  'operator',
] as const;
export type Program = (typeof PROGRAMS)[number];

export interface OptionSpec {
  /** The flag without its dashes, and the key in the YAML file. */
  name: string;
  env: string;
  type: 'text' | 'path' | 'url' | 'postgres-url' | 'redis-url' | 'port' | 'integer' | 'duration' | 'choice';
  description: string;
  programs: readonly Program[];
  /** In the form that people write. Without a default the setting may be absent. */
  default?: string;
  /** What happens without it, for settings without a default. */
  absent?: string;
  requiredFor?: readonly Program[];
  /** Never shown, in errors either. */
  secret?: boolean;
  /** Not settable in the file. */
  noFile?: boolean;
  choices?: readonly string[];
  /** For `url`: the schemes allowed. */
  schemes?: readonly string[];
  /** For `integer`, `port` and `duration` (milliseconds). */
  min?: number;
  max?: number;
  unit?: string;
}

const ADMIN = ['start', 'admin'] as const;
const GATEWAY = ['start', 'gateway'] as const;
/** Programs that only work together with others. */
const JOINED = ['admin', 'gateway'] as const;
const ON_DATABASE = [...ADMIN, 'restored', 'root-export'] as const;
const ON_REDIS = [...JOINED, 'restored'] as const;
const DAEMONS = ['start', 'admin', 'gateway', 'agent'] as const;

export const OPTIONS = [
  {
    name: 'config',
    env: 'PUSHPOINT_CONFIG',
    type: 'path',
    description:
      'YAML file with settings; its keys are the names of the flags. The agent reads its tasks from it too',
    programs: PROGRAMS,
    absent: 'no file is read',
    noFile: true,
  },
  {
    name: 'api-host',
    env: 'PUSHPOINT_API_HOST',
    type: 'text',
    description: 'Address the HTTP API listens on; `0.0.0.0` opens it to other machines',
    programs: ADMIN,
    default: '127.0.0.1',
  },
  {
    // Not PUSHPOINT_API_PORT: Kubernetes sets that to `tcp://…` beside a service called pushpoint-api.
    name: 'api-port',
    env: 'PUSHPOINT_API_LISTEN_PORT',
    type: 'port',
    description: 'Port of the HTTP API; 0 takes a free one',
    programs: ADMIN,
    default: '8080',
  },
  {
    name: 'api-tls-cert',
    env: 'PUSHPOINT_API_TLS_CERT',
    type: 'path',
    description: 'PEM file with the certificate chain of the HTTP API; needs api-tls-key',
    programs: ADMIN,
    absent: 'no TLS: for loopback, or behind a proxy that terminates it',
  },
  {
    name: 'api-tls-key',
    env: 'PUSHPOINT_API_TLS_KEY',
    type: 'path',
    description: 'PEM file with the private key of the HTTP API',
    programs: ADMIN,
    absent: 'no TLS',
  },
  {
    name: 'data-dir',
    env: 'PUSHPOINT_DATA_DIR',
    type: 'path',
    description:
      'Folder of the SQLite database and of the first token, or of the key and certificate of a gateway',
    programs: [...ON_DATABASE, 'gateway'],
    default: './data',
  },
  {
    name: 'join-tokens',
    env: 'PUSHPOINT_JOIN_TOKENS',
    type: 'text',
    description:
      'Names of gateways, with commas between them, that a join token is written for at the start, as long ' +
      'as they have not joined: into `join-tokens/NAME` in the data folder, for `--join-token-file`',
    programs: ['admin'],
    absent: 'none is written',
  },
  {
    name: 'database-url',
    env: 'DATABASE_URL',
    type: 'postgres-url',
    description:
      'PostgreSQL database to use instead of SQLite, as libpq reads it: sslmode, sslrootcert, sockets, ' +
      'PG* variables, password files',
    programs: ON_DATABASE,
    absent: 'SQLite in the data folder',
    secret: true,
  },
  {
    name: 'secrets-key-file',
    env: 'PUSHPOINT_SECRETS_KEY_FILE',
    type: 'path',
    description:
      'File with the key that encrypts the signing key and the master secret in the database: 32 random ' +
      'bytes in base64, the same for all ' +
      'administration servers',
    programs: ON_DATABASE,
    absent:
      'with SQLite `secrets.key` in the data folder, which the first start makes; with PostgreSQL ' +
      'nothing is encrypted',
  },
  {
    name: 'root-key',
    env: 'PUSHPOINT_ROOT_KEY',
    type: 'path',
    description: 'File with the root key, PEM, if it is kept outside the database: it signs the server keys',
    programs: ['restored'],
    absent: 'the one in the database signs them; without it they wait',
    noFile: true,
  },
  {
    name: 'root-signature',
    env: 'PUSHPOINT_ROOT_SIGNATURE',
    type: 'text',
    description:
      'What `pushpoint keys root sign-document` printed for the server keys that wait: nothing else is done',
    programs: ['restored'],
    absent: 'a new epoch begins',
    noFile: true,
  },
  {
    name: 'keep-commands',
    env: 'PUSHPOINT_KEEP_COMMANDS',
    type: 'duration',
    min: 60_000,
    max: 10 * 365 * 86_400_000,
    description: 'How long finished commands are kept',
    programs: ADMIN,
    default: '30d',
  },
  {
    name: 'gateway-patience',
    env: 'PUSHPOINT_GATEWAY_PATIENCE',
    type: 'duration',
    min: 0,
    max: 7 * 86_400_000,
    description:
      'How long an overdue execution waits for a gateway worker that may have heard from its device ' +
      'and was lost, or cannot pass on what it hears',
    programs: ADMIN,
    default: '5m',
  },
  {
    name: 'keep-events',
    env: 'PUSHPOINT_KEEP_EVENTS',
    type: 'duration',
    min: 60_000,
    max: 365 * 86_400_000,
    description: 'How long events are kept, so that a reader can resume; at most 200,000 are kept',
    programs: ADMIN,
    default: '1d',
  },
  {
    name: 'balance-moves-per-second',
    env: 'PUSHPOINT_BALANCE_MOVES_PER_SECOND',
    type: 'integer',
    min: 0,
    max: 10_000,
    unit: 'per-second',
    description: 'Most devices that balancing moves to another gateway; 0 moves none',
    programs: ADMIN,
    default: '100',
  },
  {
    name: 'cloned-devices',
    env: 'PUSHPOINT_CLONED_DEVICES',
    type: 'choice',
    choices: ['serve', 'hold'],
    description:
      'What becomes of commands for a device whose key two programs are known to use: `hold` lets them ' +
      'wait until it is split or released',
    programs: ADMIN,
    default: 'serve',
  },
  {
    name: 'tunnels-per-device',
    env: 'PUSHPOINT_TUNNELS_PER_DEVICE',
    type: 'integer',
    min: 0,
    max: 1_000,
    unit: 'tunnels',
    description: 'Most tunnels to one device at a time; 0 allows none',
    programs: ADMIN,
    default: '8',
  },
  {
    name: 'tunnels-per-operator',
    env: 'PUSHPOINT_TUNNELS_PER_OPERATOR',
    type: 'integer',
    min: 0,
    max: 100_000,
    unit: 'tunnels',
    description: 'Most tunnels of one API token at a time; 0 allows none',
    programs: ADMIN,
    default: '32',
  },
  {
    name: 'tunnel-idle',
    env: 'PUSHPOINT_TUNNEL_IDLE',
    type: 'duration',
    min: 1_000,
    max: 86_400_000,
    description: 'How long a tunnel may be idle before it ends',
    programs: ADMIN,
    default: '10m',
  },
  {
    name: 'tunnel-life',
    env: 'PUSHPOINT_TUNNEL_LIFE',
    type: 'duration',
    min: 1_000,
    max: 30 * 86_400_000,
    description: 'How long a tunnel may last; an operator may ask for less',
    programs: ADMIN,
    default: '12h',
  },
  {
    name: 'tunnel-max-bytes',
    env: 'PUSHPOINT_TUNNEL_MAX_BYTES',
    type: 'integer',
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    unit: 'bytes',
    description: 'Most bytes through one tunnel at one gateway, both directions together; 0 for no limit',
    programs: ADMIN,
    default: '0',
  },
  {
    name: 'canary-interval',
    env: 'PUSHPOINT_CANARY_INTERVAL',
    type: 'duration',
    min: 0,
    max: 3_600_000,
    description: "How often a no-op is sent to each gateway worker's canary and back; 0 for never",
    programs: ADMIN,
    default: '15s',
  },
  {
    name: 'base-path',
    env: 'PUSHPOINT_BASE_PATH',
    type: 'text',
    description:
      'Path below which a proxy serves the HTTP API, such as `/pushpoint`; the proxy may pass the path ' +
      'on or strip it',
    programs: ADMIN,
    absent: 'none: the root',
  },
  {
    name: 'trust-proxy',
    env: 'PUSHPOINT_TRUST_PROXY',
    type: 'text',
    description:
      'Addresses of reverse proxies in front of the HTTP API whose `X-Forwarded-For` is trusted, ' +
      'separated by commas: `10.0.0.5`, `10.0.0.0/8`, `loopback`',
    programs: ADMIN,
    absent: 'the header is ignored',
  },
  {
    name: 'allowed-origins',
    env: 'PUSHPOINT_ALLOWED_ORIGINS',
    type: 'text',
    description:
      'Origins whose web pages may enrol as devices, separated by commas: `https://kiosk.example.net`; ' +
      '`*` for any. They may call nothing else of the API',
    programs: ADMIN,
    absent: 'none but the API itself',
  },
  {
    name: 'redis-url',
    env: 'REDIS_URL',
    type: 'redis-url',
    description:
      'Redis that connects administration servers and gateways: one server, the sentinels that watch ' +
      'it, or a cluster',
    programs: ON_REDIS,
    requiredFor: JOINED,
    secret: true,
  },
  {
    name: 'redis-prefix',
    env: 'REDIS_PREFIX',
    type: 'text',
    description:
      'Prefix of every key and channel in Redis: letters, digits, `.`, `_`, `-`. Installations that ' +
      'share one Redis each need their own',
    programs: ON_REDIS,
    default: 'pp',
  },
  {
    name: 'redis-password',
    env: 'REDIS_PASSWORD',
    type: 'text',
    description: 'Password of the Redis servers, instead of one in the URL',
    programs: ON_REDIS,
    absent: 'the one in the URL, if any',
    secret: true,
  },
  {
    name: 'redis-password-file',
    env: 'REDIS_PASSWORD_FILE',
    type: 'path',
    description: 'File with the password of the Redis servers',
    programs: ON_REDIS,
    absent: 'none is read',
  },
  {
    name: 'redis-sentinel-user',
    env: 'REDIS_SENTINEL_USER',
    type: 'text',
    description: 'User at the sentinels; the one in the URL is for the Redis servers',
    programs: ON_REDIS,
    absent: 'the default user',
  },
  {
    name: 'redis-sentinel-password',
    env: 'REDIS_SENTINEL_PASSWORD',
    type: 'text',
    description: 'Password of the sentinels',
    programs: ON_REDIS,
    absent: 'none',
    secret: true,
  },
  {
    name: 'redis-sentinel-password-file',
    env: 'REDIS_SENTINEL_PASSWORD_FILE',
    type: 'path',
    description: 'File with the password of the sentinels',
    programs: ON_REDIS,
    absent: 'none is read',
  },
  {
    name: 'redis-tls-ca',
    env: 'REDIS_TLS_CA',
    type: 'path',
    description:
      'PEM file with the authorities that sign the certificates of Redis (`rediss`) and its sentinels',
    programs: ON_REDIS,
    absent: 'the authorities that Node.js trusts',
  },
  {
    name: 'redis-tls-cert',
    env: 'REDIS_TLS_CERT',
    type: 'path',
    description: 'PEM file with the certificate to show to Redis; needs redis-tls-key',
    programs: ON_REDIS,
    absent: 'none is shown',
  },
  {
    name: 'redis-tls-key',
    env: 'REDIS_TLS_KEY',
    type: 'path',
    description: 'PEM file with the private key of redis-tls-cert',
    programs: ON_REDIS,
    absent: 'none',
  },
  {
    name: 'redis-tls-verify',
    env: 'REDIS_TLS_VERIFY',
    type: 'choice',
    choices: ['yes', 'no'],
    description:
      'Whether certificates of Redis are checked; `no` accepts any certificate and is for trials only',
    programs: ON_REDIS,
    default: 'yes',
  },
  {
    name: 'name',
    env: 'PUSHPOINT_GATEWAY_NAME',
    type: 'text',
    description: 'Name of the gateway',
    programs: ['start'],
    default: 'gw1',
  },
  {
    // No default: two machines with one name would take each other's place.
    name: 'name',
    env: 'PUSHPOINT_GATEWAY_NAME',
    type: 'text',
    description: 'Name of the gateway, unique among all',
    programs: ['gateway'],
    requiredFor: ['gateway'],
  },
  {
    name: 'host',
    env: 'PUSHPOINT_LISTEN_HOST',
    type: 'text',
    description: 'Address the gateway listens on',
    programs: GATEWAY,
    default: '0.0.0.0',
  },
  {
    // Not PUSHPOINT_PORT: Kubernetes sets that to `tcp://…` beside a service called pushpoint.
    name: 'port',
    env: 'PUSHPOINT_LISTEN_PORT',
    type: 'port',
    description:
      'Push server port of the gateway; 0 takes a free one. What an operator sets later takes precedence',
    programs: GATEWAY,
    default: '13295',
  },
  {
    name: 'address',
    env: 'PUSHPOINT_GATEWAY_ADDRESS',
    type: 'url',
    schemes: ['ws', 'wss'],
    description: 'Address for remote hosts: the URL devices dial',
    programs: ['start'],
    absent: '`ws://127.0.0.1:<port>`, for devices on this machine only',
  },
  {
    name: 'address',
    env: 'PUSHPOINT_GATEWAY_ADDRESS',
    type: 'url',
    schemes: ['ws', 'wss'],
    description: 'Address for remote hosts: the URL devices dial',
    programs: ['gateway'],
    absent: '`ws://<name of the machine>:<port>`, with TLS `wss://`',
  },
  {
    name: 'join-token',
    env: 'PUSHPOINT_JOIN_TOKEN',
    type: 'text',
    description:
      'Token with which the gateway gets its first certificate, from `pushpoint gateways join-token`; ' +
      'needed at the first start only',
    programs: ['gateway'],
    absent: 'the gateway has joined already, or joins otherwise',
    secret: true,
  },
  {
    name: 'join-token-file',
    env: 'PUSHPOINT_JOIN_TOKEN_FILE',
    type: 'path',
    description: 'File that holds the join token; the gateway waits until it is there',
    programs: ['gateway'],
    absent: 'the gateway has joined already, or joins otherwise',
  },
  {
    name: 'installation',
    env: 'PUSHPOINT_INSTALLATION',
    type: 'text',
    description: 'Fingerprint of the installation to join by approval; `pushpoint gateways approve` shows it',
    programs: ['gateway'],
    absent: 'the gateway has joined already, or joins with a token',
  },
  {
    name: 'gateway-group',
    env: 'PUSHPOINT_GATEWAY_GROUP',
    type: 'text',
    description: 'Id of the group that the gateway serves, with its subgroups',
    programs: GATEWAY,
    default: 'all',
  },
  {
    name: 'connection-limit',
    env: 'PUSHPOINT_CONNECTION_LIMIT',
    type: 'integer',
    min: 1,
    max: 10_000_000,
    unit: 'connections',
    description: 'Most connections of the gateway',
    programs: GATEWAY,
    default: '50000',
  },
  {
    name: 'workers',
    env: 'PUSHPOINT_GATEWAY_WORKERS',
    type: 'integer',
    min: 1,
    max: 1_024,
    unit: 'processes',
    description: 'Worker processes of the gateway, which share its port and its limits',
    programs: ['gateway'],
    absent: 'one for each core',
  },
  {
    name: 'tls-cert',
    env: 'PUSHPOINT_TLS_CERT',
    type: 'path',
    description: 'PEM file with the certificate chain of the gateway; needs tls-key',
    programs: GATEWAY,
    absent: 'no TLS: for loopback, or behind a proxy that terminates it',
  },
  {
    name: 'tls-key',
    env: 'PUSHPOINT_TLS_KEY',
    type: 'path',
    description: 'PEM file with the private key of the gateway',
    programs: GATEWAY,
    absent: 'no TLS',
  },
  {
    name: 'metrics-host',
    env: 'PUSHPOINT_METRICS_HOST',
    type: 'text',
    description: "Address of the gateway's `/live`, `/ready` and `/metrics`",
    programs: GATEWAY,
    default: '127.0.0.1',
  },
  {
    name: 'metrics-port',
    env: 'PUSHPOINT_METRICS_LISTEN_PORT',
    type: 'port',
    description: "Port of the gateway's `/live`, `/ready` and `/metrics`; 0 takes a free one",
    programs: GATEWAY,
    absent: 'the push server port + 1000',
  },
  {
    name: 'heartbeat-interval',
    env: 'PUSHPOINT_HEARTBEAT_INTERVAL',
    type: 'duration',
    min: 1_000,
    max: 900_000,
    description:
      'How often devices send a heartbeat; a connection that is silent for 2.5 times as long is closed',
    programs: GATEWAY,
    default: '1m',
  },
  {
    name: 'handshake-timeout',
    env: 'PUSHPOINT_HANDSHAKE_TIMEOUT',
    type: 'duration',
    min: 100,
    max: 60_000,
    description: 'How long a new connection may take to prove its identity',
    programs: GATEWAY,
    default: '10s',
  },
  {
    name: 'max-unauthenticated',
    env: 'PUSHPOINT_MAX_UNAUTHENTICATED',
    type: 'integer',
    min: 1,
    max: 1_000_000,
    unit: 'connections',
    description:
      'Most sockets of any kind that have not proved their identity yet; fewer when file descriptors ' +
      'are scarce',
    programs: GATEWAY,
    default: '12000',
  },
  {
    name: 'max-unauthenticated-per-address',
    env: 'PUSHPOINT_MAX_UNAUTHENTICATED_PER_ADDRESS',
    type: 'integer',
    min: 1,
    max: 1_000_000,
    unit: 'connections',
    description:
      'Most of these from one IP address, at most a quarter; twice as many from its prefix (IPv4 /24, ' +
      'IPv6 /64)',
    programs: GATEWAY,
    default: '3000',
  },
  {
    name: 'shared-addresses',
    env: 'PUSHPOINT_SHARED_ADDRESSES',
    type: 'text',
    description:
      'Addresses and prefixes of proxies and load balancers, such as `10.0.0.5,192.0.2.0/24`: the ' +
      'limits per address do not apply to them',
    programs: GATEWAY,
    absent: 'the limits apply to every address',
  },
  {
    name: 'upgrades-per-second',
    env: 'PUSHPOINT_UPGRADES_PER_SECOND',
    type: 'integer',
    min: 1,
    max: 1_000_000,
    unit: 'per-second',
    description: 'Most new connections a worker accepts per second',
    programs: GATEWAY,
    default: '3000',
  },
  {
    name: 'max-backpressure',
    env: 'PUSHPOINT_MAX_BACKPRESSURE',
    type: 'integer',
    min: 65_536,
    max: 1_073_741_824,
    unit: 'bytes',
    description: 'Most bytes that may be queued for one slow device before its connection is closed',
    programs: GATEWAY,
    default: '1048576',
  },
  {
    name: 'drain-per-second',
    env: 'PUSHPOINT_DRAIN_PER_SECOND',
    type: 'integer',
    min: 1,
    max: 1_000_000,
    unit: 'per-second',
    description: 'Devices sent away per second when the gateway stops, is drained or changes its port',
    programs: GATEWAY,
    default: '1000',
  },
  {
    name: 'max-tunnels',
    env: 'PUSHPOINT_MAX_TUNNELS',
    type: 'integer',
    min: 0,
    max: 100_000,
    unit: 'tunnels',
    description: 'Most tunnels through the gateway at a time; 0 allows none',
    programs: GATEWAY,
    default: '500',
  },
  {
    name: 'canary',
    env: 'PUSHPOINT_CANARY',
    type: 'choice',
    choices: ['on', 'off'],
    description:
      'Whether each worker runs a canary: a device of its own, with which administration servers check ' +
      'that it is reachable',
    programs: GATEWAY,
    default: 'on',
  },
  {
    name: 'server',
    env: 'PUSHPOINT_SERVER',
    type: 'url',
    schemes: ['http', 'https'],
    description: 'Address of the HTTP API of the administration server',
    programs: ['agent', 'operator'],
    default: 'http://127.0.0.1:8080',
  },
  {
    name: 'token-file',
    env: 'PUSHPOINT_TOKEN_FILE',
    type: 'path',
    description: 'File that holds the API token; `PUSHPOINT_TOKEN` may hold the token itself',
    programs: ['operator'],
    absent: '`./data/admin-token`, which `pushpoint start` writes',
  },
  {
    name: 'request-timeout',
    env: 'PUSHPOINT_REQUEST_TIMEOUT',
    type: 'duration',
    min: 100,
    max: 600_000,
    description: 'How long one request to the HTTP API may take',
    programs: ['operator'],
    default: '30s',
  },
  {
    name: 'token',
    env: 'PUSHPOINT_ENROLMENT_TOKEN',
    type: 'text',
    description: 'Enrolment token; needed at the first start only',
    programs: ['agent'],
    absent: 'the agent must be enrolled already',
    secret: true,
  },
  {
    name: 'state',
    env: 'PUSHPOINT_AGENT_STATE',
    type: 'path',
    description: "Folder of the agent's key and state",
    programs: ['agent'],
    default: './agent-state',
  },
  {
    name: 'output-tail-bytes',
    env: 'PUSHPOINT_OUTPUT_TAIL_BYTES',
    type: 'integer',
    min: 0,
    max: 16_384,
    unit: 'bytes',
    description: "How many bytes of a task's last output are reported",
    programs: ['agent'],
    default: '8192',
  },
  {
    name: 'name',
    env: 'PUSHPOINT_DEVICE_NAME',
    type: 'text',
    description: 'Name under which operators see this device',
    programs: ['agent'],
    absent: 'the name of the machine',
  },
  {
    name: 'log-level',
    env: 'PUSHPOINT_LOG_LEVEL',
    type: 'choice',
    choices: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    description: 'Lowest level of log lines to write (JSON lines, to stderr)',
    programs: DAEMONS,
    default: 'info',
  },
  {
    name: 'ready-file',
    env: 'PUSHPOINT_READY_FILE',
    type: 'path',
    description: 'File to write once everything runs; it contains the JSON of the ready line',
    programs: DAEMONS,
    absent: 'none is written',
  },
  {
    name: 'stop-deadline',
    env: 'PUSHPOINT_STOP_DEADLINE',
    type: 'duration',
    min: 100,
    max: 600_000,
    description: 'How long an orderly stop may take after SIGTERM or SIGINT; a second signal ends at once',
    programs: DAEMONS,
    default: '25s',
  },
] as const satisfies readonly OptionSpec[];

/** What the agent's file holds besides settings; `device/agent` checks it. */
export const AGENT_FILE_KEYS = ['tasks', 'sync', 'tunnels'] as const;

type Spec = (typeof OPTIONS)[number];

type Camel<T extends string> = T extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : T;

type ValueOf<S extends Spec> = S extends { type: 'port' | 'integer' | 'duration' }
  ? number
  : S extends { choices: readonly (infer Choice)[] }
    ? Choice
    : string;

type Present<S extends Spec, P extends Program> = S extends { default: string }
  ? true
  : S extends { requiredFor: readonly (infer Required)[] }
    ? P extends Required
      ? true
      : false
    : false;

/** The settings of one program: camel-case names, durations in milliseconds. */
export type ConfigOf<P extends Program> = {
  readonly [S in Spec as P extends S['programs'][number] ? Camel<S['name']> : never]:
    | ValueOf<S>
    | (Present<S, P> extends true ? never : undefined);
};

export function optionsOf(program: Program): OptionSpec[] {
  return (OPTIONS as readonly OptionSpec[]).filter((option) => option.programs.includes(program));
}

export function camelName(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
