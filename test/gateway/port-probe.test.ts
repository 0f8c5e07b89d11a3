import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePort, PortUnavailable, probePort } from '../../gateway/listen/port-probe.ts';

async function refusal(host: string, port: number): Promise<string> {
  try {
    await probePort(host, port);
  } catch (error) {
    assert.instance(error, PortUnavailable);
    return (error as Error).message;
  }
  throw new Error(`port ${port} of ${host} is free`);
}

test('a free port is free again after the probe', async () => {
  const port = await freePort('127.0.0.1');
  await probePort('127.0.0.1', port);
  await probePort('127.0.0.1', port);
});

test('a port that somebody listens on is refused with what to do, on all addresses as well', async () => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  try {
    assert.match(
      await refusal('127.0.0.1', port),
      `port ${port} is in use by another program: stop that program`,
    );
    assert.match(await refusal('0.0.0.0', port), 'is in use');
  } finally {
    server.close();
  }
});

test('an address that is not of this machine is refused with what to do', async () => {
  assert.match(await refusal('192.0.2.1', 13295), '192.0.2.1 is not an address of this machine');
});

const PRIVILEGED = 81;

function privilegedFrom(): number {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'));
  } catch {
    return 1_024;
  }
}

/** In a process of its own, which gives up its privileges. */
async function refusalWithoutPrivilege(): Promise<string> {
  const probe = fileURLToPath(new URL('../../gateway/listen/port-probe.js', import.meta.url));
  const script = `
    import { probePort } from ${JSON.stringify(probe)};
    if (process.getuid() === 0) { process.setgroups([]); process.setgid(65534); process.setuid(65534); }
    await probePort('127.0.0.1', ${PRIVILEGED}).then(
      () => console.log('free'),
      (error) => console.log(error.message),
    );
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
  return stdout;
}

// Some systems let everybody listen on low ports.
if (privilegedFrom() > PRIVILEGED) {
  test('a privileged port is refused with what to do', async () => {
    assert.match(
      await refusalWithoutPrivilege(),
      `port ${PRIVILEGED} needs a privilege that this process lacks`,
    );
  });
}

test.run();
