import { existsSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import { Registry } from 'prom-client';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GATEWAY_STATES } from '../../admin-api/balance/fleet.ts';
import { type AdminGauges, registerAdminGauges } from '../../admin-api/gauges.ts';
import { createHttpMetrics } from '../../admin-api/http/metrics.ts';
import { createAdminMetrics } from '../../admin-api/metrics.ts';
import type { Bus } from '../../bus/bus.ts';
import { registerBusMetrics } from '../../bus/bus-metrics.ts';
import { registerLogMetrics } from '../../bus/log-metrics.ts';
import { registerProgramMetrics } from '../../bus/program-metrics.ts';
import { Certificates } from '../../bus/tls/certificates.ts';
import { optionsOf, PROGRAMS } from '../../cli/config/options.ts';
import { type Gauges, Metrics } from '../../gateway/metrics.ts';
import { CLOSE } from '../../protocol/index.ts';
import { ROOT, read } from './deploy-files.ts';

const guide = read('docs/operations.md');

function metricsOfTheCode(): string[] {
  const registry = new Registry();
  createAdminMetrics(registry);
  createHttpMetrics(registry).countUnauthenticated(() => 0);
  registerAdminGauges(registry, {} as AdminGauges);
  // Only names are read here: nothing is collected.
  registerBusMetrics(registry, {} as Bus);
  registerLogMetrics(registry, {});
  new Certificates(pino({ level: 'silent' })).register(registry);
  registerProgramMetrics(registry, '');
  new Metrics().register(registry, 'gw1/0', {} as Gauges);
  // Those of the supervisor, which starts processes, are read from its text.
  const supervisor = read('gateway/supervisor/supervisor.ts').matchAll(/name: '(pushpoint_[a-z_]+)'/g);
  return [
    // Figures of the process have the names of Prometheus' own clients.
    ...registry
      .getMetricsAsArray()
      .map(({ name }) => name)
      .filter((name) => name.startsWith('pushpoint_')),
    ...[...supervisor].map(([, name = '']) => name),
  ];
}

test('the guide explains every metric in its own row, and no metric that does not exist', () => {
  const rows = [...guide.matchAll(/^\| `(pushpoint_[a-z_]+)` \|/gm)].map((match) => match[1]);
  assert.equal(rows.sort(), metricsOfTheCode().sort());
});

test('a metric named anywhere in the guide exists', () => {
  const names = metricsOfTheCode();
  for (const [, name = ''] of guide.matchAll(/`(pushpoint_[a-z_]+)`/g)) {
    assert.ok(names.includes(name.replace(/_count$/, '')), name);
  }
  for (const [, rest = ''] of guide.matchAll(/`…(_[a-z_]+)`/g)) {
    assert.ok(
      names.some((name) => name.endsWith(rest)),
      rest,
    );
  }
});

test('C-1: the guide says for every close code what to do', () => {
  const rows = [...guide.matchAll(/^\| (4\d{3}) \| `(\w+)` \|/gm)].map((match) => [
    match[2],
    Number(match[1]),
  ]);
  assert.equal(Object.fromEntries(rows), { ...CLOSE });
});

test('the guide explains every state of a gateway and every placement that `devices show` prints', () => {
  const source = read('admin-api/balance/explain-placement.ts');
  const codes = [...source.matchAll(/^ {2}\| '([a-z-]+)'/gm)].map((match) => match[1] ?? '');
  assert.ok(codes.length > 0);
  for (const word of [...GATEWAY_STATES, ...codes]) assert.ok(guide.includes(`| \`${word}\` |`), word);
});

test('the guide says for every answer of `devices why` what to do', () => {
  const source = read('admin-api/dispatch/explain.ts');
  const codes = new Set([...source.matchAll(/code: '([a-z-]+)'/g)].map((match) => match[1] ?? ''));
  for (const code of codes) assert.ok(guide.includes(`| \`${code}\` |`), code);
});

test('variables and flags of programs that the guide names exist', () => {
  const options = PROGRAMS.flatMap((program) => optionsOf(program));
  const env = new Set([...options.map((option) => option.env), 'PUSHPOINT_TOKEN']);
  for (const [name] of guide.matchAll(/\bPUSHPOINT_[A-Z_]+/g)) assert.ok(env.has(name), name);
  // The manual page names the flags of operators' commands, which are not in the table of settings.
  const manual = read('docs/pushpoint.1').replaceAll('\\-', '-');
  const operators = [...manual.matchAll(/--([a-z-]+)/g)].map(([, name = '']) => name);
  const flags = new Set([...options.map((option) => option.name), ...operators]);
  for (const [, name = ''] of guide.matchAll(/`--([a-z-]+)/g)) assert.ok(flags.has(name), name);
});

test('links of the guide lead somewhere', () => {
  // Written with the first measurements; the guide says "where present".
  const optional = ['../bench/RESULTS.md'];
  const anchors = [...guide.matchAll(/^#+ (.+)$/gm)].map((match) =>
    (match[1] ?? '')
      .toLowerCase()
      .replaceAll(/[^a-z0-9 -]/g, '')
      .replaceAll(' ', '-'),
  );
  for (const [, link = ''] of guide.matchAll(/\]\(([^)]+)\)/g)) {
    const [path = '', anchor] = link.split('#');
    if (path === '') assert.ok(anchors.includes(anchor ?? ''), link);
    else if (!optional.includes(path)) assert.ok(existsSync(join(ROOT, 'docs', path)), link);
  }
});

test.run();
