import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, constants, readdir } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/**
 * Full paths of the programs named, all of one folder: the first folder of PATH, then of `folders`, that has
 * them all.
 */
export async function findPrograms<Name extends string>(
  names: readonly Name[],
  folders: readonly string[],
): Promise<Record<Name, string> | undefined> {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), ...folders]) {
    if (!folder.startsWith('/')) continue;
    const paths = names.map((name) => [name, join(folder, name)] as const);
    const found = await Promise.all(paths.map(([, path]) => isExecutable(path)));
    if (found.every(Boolean)) return Object.fromEntries(paths) as Record<Name, string>;
  }
  return undefined;
}

/** `/usr/lib/postgresql/*` and the like: `folder/<version>/rest`, newest version first. */
export async function versionedFolders(folder: string, rest: string): Promise<string[]> {
  const versions = await readdir(folder).catch(() => [] as string[]);
  return versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(folder, version, rest));
}

/**
 * Installs a Debian package without starting any service of it. One at a time on a machine: the others wait
 * for the lock. Throws an error that says what to install where this process may not do it.
 */
export async function installPackage(name: string, otherSystems: string): Promise<void> {
  const apt = await findPrograms(['apt-get', 'flock', 'dpkg'], ['/usr/bin']);
  if (process.getuid?.() !== 0 || apt === undefined) {
    const reason = apt === undefined ? 'there is no apt-get here' : 'this is not root';
    throw new Error(
      `${name} is not installed and tests cannot install it (${reason}): ` +
        `apt-get install --no-install-recommends ${name} (Debian, Ubuntu), ${otherSystems}`,
    );
  }
  process.stderr.write(`installing ${name} with apt ...\n`);
  const child = spawn(
    apt.flock,
    ['/var/lock/pushpoint-test-install', '/bin/sh', '-ec', installScript, 'install', name],
    {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-20_000);
    });
  }
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`apt could not install ${name} (exit ${code}):\n${output}`);
  process.stderr.write(`installed ${name}\n`);
}

// policy-rc.d is Debian's way to say that packages must not start services; 101 means forbidden. An existing
// one (in container images) stays. createcluster.conf keeps PostgreSQL's package from making a cluster of its
// own. An update may fail because somebody else's runs; whether the lists will do shows when installing.
const installScript = `
if dpkg -s "$1" 2>/dev/null | grep -q '^Status: install ok installed'; then exit 0; fi
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT INT TERM
  printf '#!/bin/sh\\nexit 101\\n' > "$policy"
  chmod 755 "$policy"
fi
clusters=/etc/postgresql-common/createcluster.conf
if [ "$1" = postgresql ] && [ ! -e "$clusters" ]; then
  mkdir -p /etc/postgresql-common
  echo 'create_main_cluster = false' > "$clusters"
fi
apt-get -q update || { sleep 10; apt-get -q update; } || true
apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \\
  install --no-install-recommends "$1"
if [ -e "$clusters.ucf-dist" ]; then mv "$clusters.ucf-dist" "$clusters"; fi
`;

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
