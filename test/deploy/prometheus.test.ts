/**
 * Metrics, alert rules and the dashboard in a real Prometheus that scrapes real programs; installed where it
 * is missing.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { joinFlags } from '../deployment/flags.ts';
import { findPrograms, installPackage } from '../services/install.ts';
import { type Program, startCli } from '../services/processes.ts';
import { type RedisServer, startRedis } from '../services/redis.ts';
import { Service } from '../services/service.ts';
import { freePort, waitFor } from '../wait.ts';
import { ROOT, read } from './deploy-files.ts';

interface Rule {
  alert: string;
  expr: string;
}

interface Dashboard {
  panels: { title: string; targets: { expr: string }[] }[];
}

const RULES = 'deploy/prometheus/alerts.yaml';
const rules = (parse(read(RULES)) as { groups: { rules: Rule[] }[] }).groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(read('deploy/grafana/pushpoint.json')) as Dashboard;
const folder = mkdtempSync(join(tmpdir(), 'prometheus-'));

let programs: { prometheus: string; promtool: string };
let redis: RedisServer;
let admin: Program;
let gateway: Program;
let prometheus: Service;
let url = '';
const targets = { admin: '', gateway: '' };

async function ensurePrometheus(): Promise<typeof programs> {
  const find = () => findPrograms(['prometheus', 'promtool'], ['/usr/bin', '/usr/local/bin']);
  if ((await find()) === undefined) await installPackage('prometheus', 'brew install prometheus (macOS)');
  const found = await find();
  if (found === undefined) throw new Error('prometheus was installed, but is not where it is looked for');
  return found;
}

async function ready(program: Program): Promise<Record<string, number>> {
  return JSON.parse((await program.waitForLine(/^ready /)).slice('ready '.length));
}

async function startPrometheus(): Promise<void> {
  const port = await freePort();
  const scrape = (job: string, target: string) => ({
    job_name: job,
    static_configs: [{ targets: [target] }],
  });
  const settings = {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: [join(ROOT, RULES)],
    scrape_configs: [scrape('pushpoint-admin', targets.admin), scrape('pushpoint-gateway', targets.gateway)],
  };
  writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(settings));
  url = `http://127.0.0.1:${port}`;
  prometheus = new Service({
    name: 'prometheus',
    folder,
    command: programs.prometheus,
    arguments: [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    stopSignal: 'SIGTERM',
    endSignal: 'TERM',
    startTimeoutMs: 30_000,
    answers: () =>
      fetch(`${url}/-/ready`).then(
        ({ ok }) => ok,
        () => false,
      ),
  });
  await prometheus.start();
}

test.before(async () => {
  programs = await ensurePrometheus();
  redis = await startRedis();
  const env = { REDIS_URL: redis.url };
  const data = join(folder, 'ledger');
  admin = startCli(
    ['admin', '--api-port', '0', '--data-dir', data, '--canary-interval', '1s', '--join-tokens', 'gw1'],
    { env },
  );
  const { apiPort } = await ready(admin);
  const address = ['--address', 'ws://127.0.0.1:1'];
  const ports = ['--port', '0', '--metrics-port', '0', '--workers', '2'];
  gateway = startCli(['gateway', '--name', 'gw1', ...address, ...ports, ...joinFlags('gw1', data)], { env });
  const { metricsPort } = await ready(gateway);
  Object.assign(targets, { admin: `127.0.0.1:${apiPort}`, gateway: `127.0.0.1:${metricsPort}` });
  await startPrometheus();
});

test.after(async () => {
  await prometheus.stop();
  await gateway.stop();
  await admin.stop();
  await redis.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function metrics(target: string): Promise<string> {
  return (await fetch(`http://${target}/metrics`)).text();
}

async function query(
  expression: string,
): Promise<{ metric: Record<string, string>; value: [number, string] }[]> {
  const response = await fetch(`${url}/api/v1/query?${new URLSearchParams({ query: expression })}`);
  const { status, error, data } = (await response.json()) as {
    status: string;
    error?: string;
    data: { result: { metric: Record<string, string>; value: [number, string] }[] };
  };
  assert.is(status, 'success', `${expression}: ${error}`);
  return data.result;
}

test('promtool finds nothing to say about the metrics of either program', async () => {
  for (const target of Object.values(targets)) {
    const child = spawn(programs.promtool, ['check', 'metrics'], { stdio: ['pipe', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += text));
    child.stdin.end(await metrics(target));
    const [code] = await once(child, 'close');
    // Certificates are spoken of in days.
    const known = /^pushpoint_(certificate|admin_authority)_days_left use base unit "seconds"/;
    const wrong = said.split('\n').filter((line) => line !== '' && !known.test(line));
    assert.equal(wrong, [], `${code}`);
  }
});

test('promtool reads the rules and the sample configuration', async () => {
  const sample = parse(read('deploy/prometheus/prometheus.yaml')) as { rule_files: string[] };
  assert.equal(sample.rule_files, ['alerts.yaml']);
  const check = promisify(execFile);
  await check(programs.promtool, ['check', 'rules', join(ROOT, RULES)]);
  await check(programs.promtool, ['check', 'config', join(ROOT, 'deploy/prometheus/prometheus.yaml')]);
});

test('rules and dashboard name metrics that the programs have', async () => {
  const both = (await Promise.all(Object.values(targets).map(metrics))).join('\n');
  const known = new Set([...both.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1] ?? ''));
  const expressions = [
    ...rules.map(({ expr }) => expr),
    ...dashboard.panels.flatMap(({ targets: all }) => all.map(({ expr }) => expr)),
  ];
  let named = 0;
  for (const expression of expressions) {
    for (const [name] of expression.matchAll(/\b(?:pushpoint|process|nodejs)_\w+/g)) {
      named += 1;
      assert.ok(known.has(name) || known.has(name.replace(/_(bucket|count|sum)$/, '')), name);
    }
  }
  assert.ok(named > 50);
});

test('every rule is evaluated without an error, and none fires while all is well', async () => {
  const evaluated = async () => {
    const { data } = (await (await fetch(`${url}/api/v1/rules`)).json()) as {
      data: { groups: { rules: { name: string; health: string; state: string; lastError?: string }[] }[] };
    };
    return data.groups.flatMap((group) => group.rules);
  };
  await waitFor(async () => (await evaluated()).every(({ health }) => health !== 'unknown'));
  const all = await evaluated();
  assert.equal(all.map(({ name }) => name).sort(), rules.map(({ alert }) => alert).sort());
  for (const { name, health, lastError } of all) assert.is(health, 'ok', `${name}: ${lastError}`);
  await waitFor(async () => (await evaluated()).every(({ state }) => state !== 'firing'));
});

test('Prometheus answers every query of the dashboard, and always has the basic figures', async () => {
  await waitFor(async () => (await query('pushpoint_gateway_ready == 1')).length === 2);
  for (const { title, targets: all } of dashboard.panels) {
    for (const { expr } of all) {
      await query(expr.replaceAll('$__rate_interval', '1m').replaceAll('$' + '{datasource}', 'x'));
      assert.ok(title);
    }
  }
  for (const expression of [
    'sum(pushpoint_gateway_sessions)',
    'max(pushpoint_admin_workers)',
    'count by (version, node) (pushpoint_build_info)',
    'sum by (instance) (process_resident_memory_bytes{job=~"pushpoint.*"})',
    'max by (instance, worker) (nodejs_eventloop_utilization_ratio)',
  ]) {
    // Programs are read one after the other: the server may not have been yet.
    await waitFor(async () => (await query(expression)).length > 0, { what: expression });
  }
  const workers = (await query('process_resident_memory_bytes')).map(
    ({ metric }) => metric.worker ?? 'admin',
  );
  assert.equal(workers.sort(), ['admin', 'gw1/0', 'gw1/1', 'supervisor']);
});

test('an alert is raised when what it names happens', async () => {
  await redis.kill();
  const raised = async () => {
    const { data } = (await (await fetch(`${url}/api/v1/alerts`)).json()) as {
      data: { alerts: { labels: { alertname: string } }[] };
    };
    return new Set(data.alerts.map(({ labels }) => labels.alertname));
  };
  await waitFor(async () => {
    const names = await raised();
    return names.has('PushpointNotReady') && names.has('PushpointBusUnavailable');
  });
});

test.run();
