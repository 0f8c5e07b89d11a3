import { SqlApiTokens } from './access/api-tokens.ts';
import { SqlAudit } from './access/audit.ts';
import { SqlEnrolmentTokens } from './access/enrolment-tokens.ts';
import { SqlCommands } from './commands/commands.ts';
import { SqlDeletedDevices } from './devices/deleted-devices.ts';
import { SqlDevices } from './devices/devices.ts';
import { SqlGateways } from './devices/gateways.ts';
import { SqlGroupKeys } from './devices/group-keys.ts';
import { SqlGroups } from './devices/groups.ts';
import { SqlRefusedKeys } from './devices/refused-keys.ts';
import { appendEvents, SqlEvents } from './events.ts';
import { SqlExecutions } from './executions/executions.ts';
import { SqlMeta } from './meta.ts';
import { SqlAuthorities } from './pki/authorities.ts';
import { SqlGatewayCertificates } from './pki/gateway-certificates.ts';
import { SqlJoinTokens } from './pki/join-tokens.ts';
import { JoinedScope, OuterScope, type Scope } from './sql/scope.ts';
import type { SqlDialect } from './sql/sql-dialect.ts';
import type { Store } from './store.ts';
import { SqlTunnels } from './tunnels.ts';

function families(scope: Scope) {
  return {
    kind: scope.dialect.kind,
    groups: new SqlGroups(scope),
    groupKeys: new SqlGroupKeys(scope),
    devices: new SqlDevices(scope),
    deletedDevices: new SqlDeletedDevices(scope),
    refusedKeys: new SqlRefusedKeys(scope),
    enrolmentTokens: new SqlEnrolmentTokens(scope),
    apiTokens: new SqlApiTokens(scope),
    gateways: new SqlGateways(scope),
    commands: new SqlCommands(scope),
    executions: new SqlExecutions(scope),
    tunnels: new SqlTunnels(scope),
    authorities: new SqlAuthorities(scope),
    gatewayCertificates: new SqlGatewayCertificates(scope),
    joinTokens: new SqlJoinTokens(scope),
    events: new SqlEvents(scope),
    audit: new SqlAudit(scope),
    meta: new SqlMeta(scope),
  };
}

export function sqlStore(dialect: SqlDialect, now: () => number, checkNesting: boolean): Store {
  const scope = new OuterScope(dialect, checkNesting);
  return {
    ...families(scope),
    start: () => scope.open(now()),
    stop: () => scope.close(),
    conflicts: () => scope.conflicts,
    transaction: (work) =>
      scope.atomic(async (db) => {
        const joined = new JoinedScope(dialect, db);
        const value = await work(joinedStore(joined));
        await appendEvents(db, dialect, joined.events);
        return value;
      }),
  };
}

/** The store inside a transaction; only the outer store starts and stops. */
function joinedStore(scope: JoinedScope): Store {
  const store: Store = {
    ...families(scope),
    start: async () => {},
    stop: async () => {},
    conflicts: () => 0,
    transaction: (work) => work(store),
  };
  return store;
}
