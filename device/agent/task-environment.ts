/**
 * The environment of a program that the agent starts: a clean one, plus what its configuration names. The
 * agent's own environment holds tokens, sockets of systemd and more, which tasks must not see.
 */
import type { TaskConfig } from './config.ts';

/** What a program needs to find its tools, its home and its language; POSIX, XDG and Windows. */
const KEPT: ReadonlySet<string> = new Set([
  ...['PATH', 'HOME', 'USER', 'LOGNAME', 'SHELL', 'LANG', 'LANGUAGE', 'TZ', 'TMPDIR', 'XDG_RUNTIME_DIR'],
  ...['SYSTEMROOT', 'WINDIR', 'COMSPEC', 'PATHEXT', 'TEMP', 'TMP', 'USERNAME', 'USERPROFILE', 'APPDATA'],
  ...['LOCALAPPDATA', 'PROGRAMDATA', 'PROGRAMFILES', 'HOMEDRIVE', 'HOMEPATH', 'SYSTEMDRIVE'],
]);

/** `passEnv` copies variables from the agent's environment, `env` sets them; `env` takes precedence. */
export function taskEnvironment(
  { env, passEnv = [] }: Pick<TaskConfig, 'env' | 'passEnv'>,
  own: NodeJS.ProcessEnv = process.env,
): NodeJS.ProcessEnv {
  const named = new Set(passEnv);
  const kept = Object.entries(own).filter(
    ([key]) => named.has(key) || KEPT.has(key.toUpperCase()) || key.startsWith('LC_'),
  );
  return { ...Object.fromEntries(kept), ...env };
}
