/**
 * deploy/kubernetes against the API's own schemas and against the settings of our programs; no cluster is
 * needed.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parse, parseAllDocuments } from 'yaml';
import { parseDuration } from '../../cli/config/duration.ts';
import { loadConfig } from '../../cli/config/load.ts';
import { optionsOf, type Program } from '../../cli/config/options.ts';
import { ROOT, read } from './deploy-files.ts';

const FOLDER = 'deploy/kubernetes';

interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; labels?: Record<string, string> };
  // biome-ignore lint/suspicious/noExplicitAny: the schemas of the API say what is in it; see the first test.
  spec?: any;
  stringData?: Record<string, string>;
}

interface Kustomization {
  namespace: string;
  resources: string[];
}

const kustomization = parse(read(`${FOLDER}/kustomization.yaml`)) as Kustomization;
const manifests = kustomization.resources.flatMap((file) =>
  // An operator makes secrets.yaml from the example.
  parseAllDocuments(read(`${FOLDER}/${file.replace('secrets.yaml', 'secrets.example.yaml')}`)).map(
    (document) => document.toJS() as Manifest,
  ),
);
const programs = manifests.filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet');

/** The package's module with the classes of one API version: `v1`, `apps/v1`, `policy/v1`. */
const moduleOf = (apiVersion: string) => `kubernetes-models/${apiVersion}`;

async function schemaProblems(manifest: Manifest): Promise<string> {
  const classes = (await import(moduleOf(manifest.apiVersion))) as Record<
    string,
    new (
      data: unknown,
    ) => { validate(): void }
  >;
  const Kind = classes[manifest.kind];
  if (Kind === undefined) return `${manifest.apiVersion} has no ${manifest.kind}`;
  try {
    new Kind(manifest).validate();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

/** Fields that the API does not know: as literals in TypeScript, where the compiler refuses them. */
async function unknownFields(all: readonly Manifest[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'kubernetes-'));
  try {
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    const lines = all.map(
      ({ apiVersion, kind, ...fields }, index) =>
        `import { ${kind} as Kind${index} } from '${moduleOf(apiVersion)}';\n` +
        `new Kind${index}(${JSON.stringify(fields)});\n`,
    );
    writeFileSync(join(folder, 'manifests.ts'), lines.join(''));
    const options = ['--noEmit', '--strict', '--skipLibCheck', '--types', ''];
    const modules = ['--module', 'NodeNext', '--moduleResolution', 'NodeNext'];
    const tsc = join(ROOT, 'node_modules', '.bin', 'tsc');
    await promisify(execFile)(tsc, [...options, ...modules, 'manifests.ts'], { cwd: folder });
    return '';
  } catch (error) {
    return (error as { stdout?: string }).stdout ?? String(error);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('each manifest is valid by the schema of its API version', async () => {
  assert.ok(manifests.length >= 10);
  for (const manifest of manifests) {
    assert.is(await schemaProblems(manifest), '', `${manifest.kind} ${manifest.metadata.name}`);
  }
  const [deployment] = programs;
  const wrong = { ...deployment, spec: { ...deployment?.spec, replicas: 'two' } } as Manifest;
  assert.match(await schemaProblems(wrong), /replicas must be integer/);
});

test('no manifest has a field that the API does not know', async () => {
  assert.is(await unknownFields(manifests), '');
  const misspelled = { ...programs[0], spec: { ...programs[0]?.spec, replicaCount: 2 } } as Manifest;
  assert.match(await unknownFields([misspelled]), /replicaCount/);
});

test('each program is given settings it has, and with its sample secret they are whole and valid', () => {
  assert.is(programs.length, 2);
  for (const { spec } of programs) {
    const [container] = spec.template.spec.containers;
    const program = container.args[0] as Program;
    const env: Record<string, string> = {};
    for (const { name, value } of container.env) env[name] = value ?? 'gateway-0';
    const known = new Set(optionsOf(program).map((option) => option.env));
    for (const name of Object.keys(env)) assert.ok(known.has(name), `${program} has no ${name}`);
    const secret = manifests.find(
      ({ kind, metadata }) =>
        kind === 'Secret' && metadata.name === spec.template.spec.volumes[0].secret.secretName,
    );
    const folder = mkdtempSync(join(tmpdir(), 'kubernetes-'));
    try {
      const file = join(folder, 'pushpoint.yaml');
      writeFileSync(file, secret?.stringData?.['pushpoint.yaml'] ?? '');
      const address = env.PUSHPOINT_GATEWAY_ADDRESS?.replace('$(PUSHPOINT_GATEWAY_NAME)', 'gateway-0');
      const own = { ...env, PUSHPOINT_CONFIG: file };
      loadConfig(program, {
        flags: {},
        env: address === undefined ? own : { ...own, PUSHPOINT_GATEWAY_ADDRESS: address },
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
});

test('ports, probes and the time to stop are those of the programs', () => {
  for (const { spec } of programs) {
    const pod = spec.template.spec;
    const [container] = pod.containers;
    const options = optionsOf(container.args[0] as Program);
    const set = (name: string) => {
      const option = options.find((each) => each.name === name);
      const given = container.env.find((entry: { name: string }) => entry.name === option?.env);
      return given?.value ?? option?.default;
    };
    const ports = Object.fromEntries(
      container.ports.map(({ name, containerPort }: { name: string; containerPort: number }) => [
        name,
        containerPort,
      ]),
    );
    if (ports.api !== undefined) assert.is(String(ports.api), set('api-port'));
    if (ports.push !== undefined) assert.is(String(ports.push), set('port'));
    if (ports.metrics !== undefined) assert.is(String(ports.metrics), set('metrics-port'));
    assert.is(container.livenessProbe.httpGet.path, '/live');
    assert.is(container.readinessProbe.httpGet.path, '/ready');
    assert.ok(container.livenessProbe.httpGet.port in ports);
    const graceMs = pod.terminationGracePeriodSeconds * 1_000;
    assert.ok(graceMs >= (parseDuration(set('stop-deadline')) ?? Number.POSITIVE_INFINITY) + 10_000);
  }
});

test('services and budgets select the pods they are for, and each gateway has an address of its own', () => {
  const labels = programs.map(({ spec }) => spec.template.metadata.labels as Record<string, string>);
  for (const { kind, metadata, spec } of manifests) {
    const selector = kind === 'Service' ? spec.selector : spec?.selector?.matchLabels;
    if (selector === undefined || 'statefulset.kubernetes.io/pod-name' in selector) continue;
    const chosen = labels.filter((pod) =>
      Object.entries(selector).every(([name, value]) => pod[name] === value),
    );
    assert.is(chosen.length, 1, `${kind} ${metadata.name}`);
  }
  const gateways = programs.find(({ kind }) => kind === 'StatefulSet');
  const own = manifests.filter(
    ({ spec }) =>
      spec?.selector?.['statefulset.kubernetes.io/pod-name'] !== undefined && spec.type === 'LoadBalancer',
  );
  assert.equal(
    own.map(({ spec }) => spec.selector['statefulset.kubernetes.io/pod-name']).sort(),
    Array.from({ length: gateways?.spec.replicas ?? 0 }, (_, index) => `${gateways?.metadata.name}-${index}`),
  );
  assert.ok(
    manifests.some(
      ({ kind, metadata }) => kind === 'Service' && metadata.name === gateways?.spec.serviceName,
    ),
  );
});

test.run();
