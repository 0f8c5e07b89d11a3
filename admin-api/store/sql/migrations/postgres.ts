/**
 * The schema for PostgreSQL. Keys are compared byte by byte (collation "C"), as SQLite does, so that lists
 * have the same order and a group's subtree is a range of paths. What each index of `executions` is for: see
 * `sqlite.ts`.
 */
import type { Migration } from './migration.ts';
import { siblingNames } from './sibling-names.ts';

export const POSTGRES_MIGRATIONS: readonly Migration[] = [
  {
    number: 1,
    name: 'first',
    statements: [
      `create table groups (
        id text collate "C" primary key,
        parent_id text collate "C" references groups (id),
        name text not null,
        path text collate "C" not null unique,
        search text not null,
        created_at bigint not null
      )`,
      `create index groups_parent on groups (parent_id)`,
      `insert into groups (id, parent_id, name, path, search, created_at) values ('all', null, 'All ` +
        `devices', 'all/', 'all all devices', 0)`,
      `create table devices (
        id text collate "C" primary key,
        group_id text collate "C" not null references groups (id),
        name text not null,
        search text not null,
        platform text not null,
        software text not null,
        public_key bytea not null unique,
        membership_revision bigint not null,
        blocked_at bigint,
        created_at bigint not null,
        session bigint not null,
        connected smallint not null,
        gateway text collate "C",
        worker text collate "C",
        incarnation text collate "C",
        address text,
        caps_json text not null,
        connected_at bigint,
        disconnected_at bigint,
        close_code integer,
        close_reason text,
        policy text,
        compliance text
      )`,
      `create index devices_group on devices (group_id, id)`,
      `create index devices_connected on devices (incarnation, id, gateway) where connected = 1`,
      `create table enrolment_tokens (
        id text collate "C" primary key,
        hash bytea not null unique,
        group_id text collate "C" not null,
        note text not null,
        uses_left integer not null,
        uses_max integer not null,
        expires_at bigint not null,
        created_at bigint not null,
        created_by text not null,
        revoked_at bigint
      )`,
      `create table api_tokens (
        id text collate "C" primary key,
        hash bytea not null unique,
        name text not null,
        role text not null,
        created_at bigint not null,
        created_by text not null,
        expires_at bigint,
        revoked_at bigint,
        last_used_at bigint
      )`,
      `create table gateways (
        name text collate "C" primary key,
        group_id text collate "C" not null references groups (id),
        run_push_server smallint not null,
        port integer not null,
        address text not null,
        connection_limit integer not null,
        revision bigint not null,
        created_at bigint not null,
        updated_at bigint not null
      )`,
      `create table commands (
        id text collate "C" primary key,
        type text not null,
        args_json text not null,
        target_json text not null,
        offline text not null,
        collapse_key text collate "C",
        issued_at bigint not null,
        expires_at bigint not null,
        timeout_ms bigint not null,
        created_by text not null,
        expanded smallint not null,
        expand_cursor text collate "C" not null,
        cancel_requested_at bigint,
        finished_at bigint
      )`,
      `create index commands_unexpanded on commands (id) where expanded = 0`,
      `create index commands_open on commands (expires_at, id) where finished_at is null`,
      `create index commands_finished on commands (finished_at) where finished_at is not null`,
      `create table idempotency (
        created_by text collate "C" not null,
        key text collate "C" not null,
        body_hash bytea not null,
        command_id text collate "C" not null,
        created_at bigint not null,
        primary key (created_by, key)
      )`,
      `create index idempotency_age on idempotency (created_at)`,
      `create table executions (
        command_id text collate "C" not null,
        device_id text collate "C" not null,
        state smallint not null,
        attempts integer not null,
        percent integer,
        sent_at bigint,
        acked_at bigint,
        started_at bigint,
        finished_at bigint,
        finish_by bigint,
        session bigint,
        incarnation text collate "C",
        reason text,
        note text,
        late_state smallint,
        late_at bigint,
        late_reason text,
        data_json text,
        primary key (command_id, device_id)
      )`,
      `create index executions_command_state on executions (command_id, state, device_id)`,
      `create index executions_device on executions (device_id, command_id)`,
      `create index executions_queued on executions (device_id, command_id) where state = 0`,
      'create index executions_sent on executions (device_id, session, sent_at, incarnation, ' +
        'command_id) where state = 1',
      `create index executions_finish_by on executions (finish_by) where state in (2, 3)`,
      `create table events (
        seq bigint generated always as identity primary key,
        at bigint not null,
        type text not null,
        data_json text not null
      )`,
      `create table audit (
        seq bigint generated always as identity primary key,
        at bigint not null,
        actor text not null,
        action text not null,
        subject text not null,
        detail_json text not null
      )`,
      `create table meta (
        key text collate "C" primary key,
        value text not null
      )`,
    ],
  },
  {
    number: 2,
    name: 'draining and balance',
    statements: [
      `alter table gateways add column draining_since bigint`,
      `alter table gateways add column drained_at bigint`,
      `create index devices_placement on devices (gateway, group_id, id) where connected = 1`,
    ],
  },
  {
    number: 3,
    name: 'tunnels',
    statements: [
      `create table tunnels (
        id text collate "C" primary key,
        device_id text collate "C" not null,
        host text not null,
        port integer not null,
        reason text not null,
        created_by text collate "C" not null,
        created_at bigint not null,
        expires_at bigint not null,
        state smallint not null,
        opened_at bigint,
        ended_at bigint,
        end_code text,
        end_reason text,
        turn integer not null,
        command_id text collate "C",
        join_by bigint not null,
        device_here smallint not null,
        operator_here smallint not null,
        streams integer not null,
        refused integer not null
      )`,
      `create index tunnels_device on tunnels (device_id, id)`,
      `create index tunnels_live on tunnels (device_id, created_by, id) where state < 2`,
      `create index tunnels_ended on tunnels (ended_at) where state = 2`,
      `create table tunnel_turns (
        tunnel_id text collate "C" not null,
        turn integer not null,
        gateway text collate "C" not null,
        worker text collate "C" not null,
        incarnation text collate "C" not null,
        began_at bigint not null,
        bytes_up bigint not null,
        bytes_down bigint not null,
        primary key (tunnel_id, turn)
      )`,
    ],
  },
  {
    number: 4,
    name: 'indices of executions that a change of state does not touch',
    statements: [
      `drop index executions_command_state`,
      `drop index executions_queued`,
      `drop index executions_sent`,
      `create index executions_command_open on executions (command_id, device_id) where state < 10`,
      `create index executions_open on executions (device_id, command_id) where state < 10`,
      `create index executions_sent on executions (incarnation, sent_at) where state = 1`,
    ],
  },
  {
    number: 5,
    name: 'ends that wait for what gateways have heard',
    statements: [
      `alter table executions add column ending integer`,
      `alter table executions add column as_of bigint`,
      `create index executions_ending on executions (as_of) where ending is not null and state < 10`,
    ],
  },
  {
    number: 6,
    name: 'how near gateways are to devices',
    statements: [
      `alter table devices add column near text collate "C" not null default ''`,
      `alter table devices add column measured_json text`,
      `drop index devices_placement`,
      `create index devices_placement on devices (gateway, group_id, near, id) where connected = 1`,
    ],
  },
  {
    number: 7,
    name: 'who named a device, and copies of it',
    statements: [
      `alter table devices add column named smallint not null default 0`,
      // By an operator, as far as the audit goes back.
      `update devices set named = 1
        where id in (select subject from audit where action = 'device.renamed' and actor <> 'system')`,
      `alter table devices add column displaced integer not null default 0`,
      `alter table devices add column displaced_at bigint`,
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
      now: `cast(extract(epoch from now()) * 1000 as bigint)`,
      detail: `json_build_object('name', g.name, 'before', b.name)::text`,
    }),
  },
  {
    number: 10,
    name: 'devices that were deleted',
    statements: [
      `create table deleted_devices (
        id text collate "C" primary key,
        revision bigint not null,
        deleted_at bigint not null
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
        certificate bytea not null,
        sealed_key text not null,
        created_at bigint not null,
        expires_at bigint not null
      )`,
      `create table gateway_certificates (
        serial text collate "C" primary key,
        gateway text not null,
        key_hash bytea not null,
        authority integer not null,
        issued_at bigint not null,
        expires_at bigint not null,
        revoked_at bigint
      )`,
      `create index gateway_certificates_gateway on gateway_certificates (gateway, issued_at)`,
      `create table join_tokens (
        id text collate "C" primary key,
        gateway text not null,
        public_key bytea not null,
        expires_at bigint not null,
        created_at bigint not null,
        created_by text not null,
        revoked_at bigint,
        used_at bigint,
        used_by bytea
      )`,
    ],
  },
  {
    number: 13,
    name: 'where devices that left belong now',
    statements: [
      `alter table deleted_devices add column moved_to text`,
      `alter table deleted_devices add column moved_fingerprint bytea`,
    ],
  },
  {
    number: 14,
    name: 'copies of devices',
    statements: [
      `alter table devices add column copies_json text`,
      `alter table devices add column cloned_at bigint`,
      `create index devices_cloned on devices (id) where cloned_at is not null`,
      `alter table deleted_devices add column refused_key bytea`,
      `create index deleted_devices_key on deleted_devices (refused_key) where refused_key is not null`,
    ],
  },
  {
    number: 15,
    name: 'secret commands and keys of groups',
    statements: [
      `alter table commands add column secret smallint not null default 0`,
      `alter table commands add column sealed_json text`,
      `create table group_keys (
        group_id text collate "C" not null,
        epoch bigint not null,
        number bigint not null,
        sealed_key text not null,
        created_at bigint not null,
        stale_at bigint,
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
        select cast(extract(epoch from now()) * 1000 as bigint), 'system', 'enrolment-token.revoked', id,
          '{"reason":"tokens are keys since this version: create it again"}'
        from enrolment_tokens where revoked_at is null order by id`,
      `alter table enrolment_tokens drop column hash`,
      `alter table enrolment_tokens add column public_key bytea`,
      `update enrolment_tokens
        set revoked_at = coalesce(revoked_at, cast(extract(epoch from now()) * 1000 as bigint))`,
    ],
  },
  {
    number: 17,
    name: 'status of devices by its time',
    statements: [`alter table devices add column status_at bigint not null default 0`],
  },
  {
    number: 18,
    name: 'keys that enrol no more',
    statements: [
      `create table refused_keys (
        public_key bytea primary key,
        device_id text not null,
        why text not null,
        at bigint not null
      )`,
      `create index refused_keys_device on refused_keys (device_id, at)`,
      `insert into refused_keys (public_key, device_id, why, at)
        select refused_key, id, 'split', deleted_at from deleted_devices where refused_key is not null
        on conflict do nothing`,
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
      `alter table devices add column status_number bigint not null default 0`,
    ],
  },
];
