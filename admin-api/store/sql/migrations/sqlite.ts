/**
 * The schema for SQLite. Tables with a natural key are stored in the order of that key (WITHOUT ROWID). A
 * comment beside each index of `executions` names the queries that it serves. Every index makes inserts more
 * expensive, so there are no others.
 */
import type { Migration } from './migration.ts';
import { siblingNames } from './sibling-names.ts';

export const SQLITE_MIGRATIONS: readonly Migration[] = [
  {
    number: 1,
    name: 'first',
    statements: [
      `create table groups (
        id text primary key,
        parent_id text references groups (id),
        name text not null,
        path text not null unique,
        search text not null,
        created_at integer not null
      ) without rowid`,
      `create index groups_parent on groups (parent_id)`,
      `insert into groups (id, parent_id, name, path, search, created_at) values ('all', null, 'All ` +
        `devices', 'all/', 'all all devices', 0)`,
      `create table devices (
        id text primary key,
        group_id text not null references groups (id),
        name text not null,
        search text not null,
        platform text not null,
        software text not null,
        public_key blob not null unique,
        membership_revision integer not null,
        blocked_at integer,
        created_at integer not null,
        session integer not null,
        connected integer not null,
        gateway text,
        worker text,
        incarnation text,
        address text,
        caps_json text not null,
        connected_at integer,
        disconnected_at integer,
        close_code integer,
        close_reason text,
        policy text,
        compliance text
      ) without rowid`,
      `create index devices_group on devices (group_id, id)`,
      `create index devices_connected on devices (incarnation, id, gateway) where connected = 1`,
      `create table enrolment_tokens (
        id text primary key,
        hash blob not null unique,
        group_id text not null,
        note text not null,
        uses_left integer not null,
        uses_max integer not null,
        expires_at integer not null,
        created_at integer not null,
        created_by text not null,
        revoked_at integer
      ) without rowid`,
      `create table api_tokens (
        id text primary key,
        hash blob not null unique,
        name text not null,
        role text not null,
        created_at integer not null,
        created_by text not null,
        expires_at integer,
        revoked_at integer,
        last_used_at integer
      ) without rowid`,
      `create table gateways (
        name text primary key,
        group_id text not null references groups (id),
        run_push_server integer not null,
        port integer not null,
        address text not null,
        connection_limit integer not null,
        revision integer not null,
        created_at integer not null,
        updated_at integer not null
      ) without rowid`,
      `create table commands (
        id text primary key,
        type text not null,
        args_json text not null,
        target_json text not null,
        offline text not null,
        collapse_key text,
        issued_at integer not null,
        expires_at integer not null,
        timeout_ms integer not null,
        created_by text not null,
        expanded integer not null,
        expand_cursor text not null,
        cancel_requested_at integer,
        finished_at integer
      ) without rowid`,
      `create index commands_unexpanded on commands (id) where expanded = 0`,
      `create index commands_open on commands (expires_at, id) where finished_at is null`,
      `create index commands_finished on commands (finished_at) where finished_at is not null`,
      `create table idempotency (
        created_by text not null,
        key text not null,
        body_hash blob not null,
        command_id text not null,
        created_at integer not null,
        primary key (created_by, key)
      ) without rowid`,
      `create index idempotency_age on idempotency (created_at)`,
      `create table executions (
        command_id text not null,
        device_id text not null,
        state integer not null,
        attempts integer not null,
        percent integer,
        sent_at integer,
        acked_at integer,
        started_at integer,
        finished_at integer,
        finish_by integer,
        session integer,
        incarnation text,
        reason text,
        note text,
        late_state integer,
        late_at integer,
        late_reason text,
        data_json text,
        primary key (command_id, device_id)
      ) without rowid`,
      // Counts of a command, whether it is done, overdue deliveries, lists by state.
      `create index executions_command_state on executions (command_id, state, device_id)`,
      // History of a device; a newer command with the same collapse key.
      `create index executions_device on executions (device_id, command_id)`,
      // What waits for a device.
      `create index executions_queued on executions (device_id, command_id) where state = 0`,
      // Sent and not acknowledged; small, so sweeps may read all of it.
      'create index executions_sent on executions (device_id, session, sent_at, incarnation, ' +
        'command_id) where state = 1',
      // Executions that take longer than their time limit.
      `create index executions_finish_by on executions (finish_by) where state in (2, 3)`,
      `create table events (
        seq integer primary key autoincrement,
        at integer not null,
        type text not null,
        data_json text not null
      )`,
      `create table audit (
        seq integer primary key autoincrement,
        at integer not null,
        actor text not null,
        action text not null,
        subject text not null,
        detail_json text not null
      )`,
      `create table meta (
        key text primary key,
        value text not null
      ) without rowid`,
    ],
  },
  {
    number: 2,
    name: 'draining and balance',
    statements: [
      `alter table gateways add column draining_since integer`,
      `alter table gateways add column drained_at integer`,
      // How many devices of each group are on each gateway, and which.
      `create index devices_placement on devices (gateway, group_id, id) where connected = 1`,
    ],
  },
  {
    number: 3,
    name: 'tunnels',
    statements: [
      `create table tunnels (
        id text primary key,
        device_id text not null,
        host text not null,
        port integer not null,
        reason text not null,
        created_by text not null,
        created_at integer not null,
        expires_at integer not null,
        state integer not null,
        opened_at integer,
        ended_at integer,
        end_code text,
        end_reason text,
        turn integer not null,
        command_id text,
        join_by integer not null,
        device_here integer not null,
        operator_here integer not null,
        streams integer not null,
        refused integer not null
      ) without rowid`,
      `create index tunnels_device on tunnels (device_id, id)`,
      // Tunnels that have not ended: read every second, and counted against the limits.
      `create index tunnels_live on tunnels (device_id, created_by, id) where state < 2`,
      `create index tunnels_ended on tunnels (ended_at) where state = 2`,
      `create table tunnel_turns (
        tunnel_id text not null,
        turn integer not null,
        gateway text not null,
        worker text not null,
        incarnation text not null,
        began_at integer not null,
        bytes_up integer not null,
        bytes_down integer not null,
        primary key (tunnel_id, turn)
      ) without rowid`,
    ],
  },
  {
    number: 4,
    name: 'indices of executions that a change of state does not touch',
    statements: [
      `drop index executions_command_state`,
      `drop index executions_queued`,
      `drop index executions_sent`,
      // Whether a command is done, overdue deliveries, its open executions.
      `create index executions_command_open on executions (command_id) where state < 10`,
      // Queued and sent executions of a device.
      `create index executions_open on executions (device_id, command_id) where state < 10`,
      // Sent and not acknowledged, by the worker through which it went; small, so sweeps may read all of it.
      `create index executions_sent on executions (incarnation, sent_at) where state = 1`,
    ],
  },
  {
    number: 5,
    name: 'ends that wait for what gateways have heard',
    statements: [
      `alter table executions add column ending integer`,
      `alter table executions add column as_of integer`,
      `create index executions_ending on executions (as_of) where ending is not null and state < 10`,
    ],
  },
  {
    number: 6,
    name: 'how near gateways are to devices',
    statements: [
      `alter table devices add column near text not null default ''`,
      `alter table devices add column measured_json text`,
      `drop index devices_placement`,
      // Which devices, and how many, of each group are on each gateway, by what they measured.
      `create index devices_placement on devices (gateway, group_id, near, id) where connected = 1`,
    ],
  },
  {
    number: 7,
    name: 'who named a device, and copies of it',
    statements: [
      `alter table devices add column named integer not null default 0`,
      // By an operator, as far as the audit goes back.
      `update devices set named = 1
        where id in (select subject from audit where action = 'device.renamed' and actor <> 'system')`,
      `alter table devices add column displaced integer not null default 0`,
      `alter table devices add column displaced_at integer`,
    ],
  },
  {
    number: 8,
    name: 'devices on their way to another gateway',
    statements: [
      // Told to go elsewhere, and not heard of since.
      `create index devices_sent_away on devices (gateway, disconnected_at)
        where connected = 0 and close_code >= 4000 and close_code < 4200`,
    ],
  },
  {
    number: 9,
    name: 'names of groups, unique among siblings',
    statements: siblingNames({
      now: `unixepoch() * 1000`,
      detail: `json_object('name', g.name, 'before', b.name)`,
    }),
  },
  {
    number: 10,
    name: 'devices that were deleted',
    statements: [
      `create table deleted_devices (
        id text primary key not null,
        revision integer not null,
        deleted_at integer not null
      )`,
      `create index deleted_devices_at on deleted_devices (deleted_at)`,
    ],
  },
  {
    number: 11,
    name: 'generations of device secrets',
    statements: [
      `alter table devices add column generation integer not null default 1`,
      // Those whose secret is not their first: read for every batch of results.
      `create index devices_rekeyed on devices (id, generation) where generation > 1`,
    ],
  },
  {
    number: 12,
    name: 'the internal authority',
    statements: [
      `create table authorities (
        number integer primary key,
        state text not null,
        certificate blob not null,
        sealed_key text not null,
        created_at integer not null,
        expires_at integer not null
      )`,
      `create table gateway_certificates (
        serial text primary key not null,
        gateway text not null,
        key_hash blob not null,
        authority integer not null,
        issued_at integer not null,
        expires_at integer not null,
        revoked_at integer
      )`,
      `create index gateway_certificates_gateway on gateway_certificates (gateway, issued_at)`,
      `create table join_tokens (
        id text primary key not null,
        gateway text not null,
        public_key blob not null,
        expires_at integer not null,
        created_at integer not null,
        created_by text not null,
        revoked_at integer,
        used_at integer,
        used_by blob
      )`,
    ],
  },
  {
    number: 13,
    name: 'where devices that left belong now',
    statements: [
      `alter table deleted_devices add column moved_to text`,
      `alter table deleted_devices add column moved_fingerprint blob`,
    ],
  },
  {
    number: 14,
    name: 'copies of devices',
    statements: [
      `alter table devices add column copies_json text`,
      `alter table devices add column cloned_at integer`,
      `create index devices_cloned on devices (id) where cloned_at is not null`,
      `alter table deleted_devices add column refused_key blob`,
      `create index deleted_devices_key on deleted_devices (refused_key) where refused_key is not null`,
    ],
  },
  {
    number: 15,
    name: 'secret commands and keys of groups',
    statements: [
      `alter table commands add column secret integer not null default 0`,
      `alter table commands add column sealed_json text`,
      `create table group_keys (
        group_id text not null,
        epoch integer not null,
        number integer not null,
        sealed_key text not null,
        created_at integer not null,
        stale_at integer,
        primary key (group_id, epoch, number)
      )`,
    ],
  },
  {
    number: 16,
    name: 'enrolment tokens are keys',
    statements: [
      // Those that were kept as hashes have none.
      `insert into audit (at, actor, action, subject, detail_json)
        select unixepoch() * 1000, 'system', 'enrolment-token.revoked', id,
          '{"reason":"tokens are keys since this version: create it again"}'
        from enrolment_tokens where revoked_at is null order by id`,
      `create table enrolment_tokens_with_keys (
        id text primary key,
        public_key blob,
        group_id text not null,
        note text not null,
        uses_left integer not null,
        uses_max integer not null,
        expires_at integer not null,
        created_at integer not null,
        created_by text not null,
        revoked_at integer
      ) without rowid`,
      `insert into enrolment_tokens_with_keys
        select id, null, group_id, note, uses_left, uses_max, expires_at, created_at, created_by,
          coalesce(revoked_at, unixepoch() * 1000)
        from enrolment_tokens`,
      `drop table enrolment_tokens`,
      `alter table enrolment_tokens_with_keys rename to enrolment_tokens`,
    ],
  },
  {
    number: 17,
    name: 'status of devices by its time',
    statements: [`alter table devices add column status_at integer not null default 0`],
  },
  {
    number: 18,
    name: 'keys that enrol no more',
    statements: [
      `create table refused_keys (
        public_key blob primary key,
        device_id text not null,
        why text not null,
        at integer not null
      ) without rowid`,
      `create index refused_keys_device on refused_keys (device_id, at)`,
      `insert or ignore into refused_keys (public_key, device_id, why, at)
        select refused_key, id, 'split', deleted_at from deleted_devices where refused_key is not null`,
      `drop index deleted_devices_key`,
      `alter table deleted_devices drop column refused_key`,
    ],
  },
  {
    number: 19,
    name: 'secrets given out and not used yet',
    statements: [
      `alter table devices add column offered integer not null default 1`,
      `update devices set offered = generation where generation > 1`,
      `drop index devices_rekeyed`,
      `create index devices_rekeyed on devices (id, generation, offered) where offered > 1`,
    ],
  },
  {
    number: 20,
    name: 'status of devices by its number',
    statements: [
      `alter table devices drop column status_at`,
      `alter table devices add column status_number integer not null default 0`,
    ],
  },
];
