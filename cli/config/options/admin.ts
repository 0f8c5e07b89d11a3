/** Settings of administration servers: API, database, ledger, balancing, tunnels. */
import { ADMIN, ON_DATABASE, type OptionSpec } from './spec.ts';

export const ADMIN_OPTIONS = [
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
    name: 'server-name',
    env: 'PUSHPOINT_SERVER_NAME',
    type: 'text',
    description:
      'Name of a server that joins an installation that runs elsewhere, unique among all: it gets its ' +
      'certificate, and the key of the secrets, with a join token or by approval',
    programs: ['admin'],
    absent: 'this is the first server, or the key of the secrets is brought to it',
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
] as const satisfies readonly OptionSpec[];
