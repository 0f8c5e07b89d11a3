/** What `pushpoint tunnel` does; loaded only when it runs, as it brings the device's end of tunnels. */
import type { Flags, OperatorContext } from '../command-line.ts';
import { CliError, EXIT, type ExitCode } from '../exit-codes.ts';
import { LiveLine } from '../output/live-line.ts';
import { type LocalAddress, type Traffic, TunnelListener } from '../tunnel/listen.ts';
import { OperatorTunnel, type TunnelWish } from '../tunnel/operator-tunnel.ts';
import { joinStdio } from '../tunnel/stdio.ts';
import { resolveId } from './lookup.ts';
import { bytesText } from './tunnel-tables.ts';

const COUNTERS_EVERY_MS = 1000;

export async function openTunnel(
  context: OperatorContext,
  device: string,
  port: number,
  flags: Flags,
): Promise<ExitCode> {
  const { api, out, signal } = context;
  if (flags.stdio === true && flags.listen !== undefined) {
    throw new CliError(EXIT.usage, 'Give either --stdio or --listen, not both.');
  }
  const wish: TunnelWish = {
    deviceId: await resolveId(api, 'devices', device),
    port,
    ...(flags.host !== undefined && { host: flags.host as string }),
    ...(flags.reason !== undefined && { reason: flags.reason as string }),
    ...(flags.timeLimit !== undefined && { timeLimit: Math.ceil((flags.timeLimit as number) / 1000) }),
  };
  const line = new LiveLine(context.shell);
  const note = (text: string): void => {
    line.end();
    out.note(text);
  };
  const tunnel = await OperatorTunnel.open(wish, { api, note });
  const interrupted = new Promise<'interrupted'>((resolve) => {
    if (signal.aborted) resolve('interrupted');
    signal.addEventListener('abort', () => resolve('interrupted'), { once: true });
  });
  try {
    if (flags.stdio === true) return await serveStdio(context, tunnel, interrupted);
    return await serveListener(context, tunnel, { interrupted, line, note, flags });
  } finally {
    line.end();
    await tunnel.close();
  }
}

async function serveStdio(
  { out, shell }: OperatorContext,
  tunnel: OperatorTunnel,
  interrupted: Promise<'interrupted'>,
): Promise<ExitCode> {
  const streams = shell.bytes();
  const stream = joinStdio(tunnel, streams).then((reset) => ({ reset }));
  const end = await Promise.race([stream, tunnel.ended, interrupted]);
  streams.input.destroy();
  if (end === 'interrupted') return EXIT.interrupted;
  if (typeof end === 'string') {
    out.note(`The tunnel ended: ${end}`);
    return EXIT.notAllSucceeded;
  }
  if (!end.reset) return EXIT.ok;
  if (end.reset.remote) out.note(`The connection was cut: ${end.reset.reason || end.reset.code}`);
  return EXIT.notAllSucceeded;
}

interface Serving {
  interrupted: Promise<'interrupted'>;
  line: LiveLine;
  note: (text: string) => void;
  flags: Flags;
}

async function serveListener(
  { out }: OperatorContext,
  tunnel: OperatorTunnel,
  { interrupted, line, note, flags }: Serving,
): Promise<ExitCode> {
  const listener = new TunnelListener(tunnel, note);
  const { host, port, deviceId } = tunnel.view;
  const local = await listener.start(
    (flags.listen as LocalAddress | undefined) ?? { host: '127.0.0.1', port: 0 },
  );
  if (out.json) out.document({ tunnel: tunnel.view, listen: local });
  else {
    out.line(`Listening on ${urlHost(local.host)}:${local.port}`);
    out.note(
      `Tunnel ${tunnel.id} to ${urlHost(host)}:${port} of ${deviceId} through gateway ` +
        `${tunnel.gateway}; Ctrl-C ends it.`,
    );
  }
  const counters = setInterval(() => {
    if (!out.json) line.update(trafficText(listener.traffic));
  }, COUNTERS_EVERY_MS);
  try {
    const end = await Promise.race([tunnel.ended, interrupted]);
    line.update(trafficText(listener.traffic));
    if (end === 'interrupted') return EXIT.ok;
    note(`The tunnel ended: ${end}`);
    return EXIT.notAllSucceeded;
  } finally {
    clearInterval(counters);
    listener.stop();
  }
}

function trafficText({ connections, served, up, down }: Traffic): string {
  return (
    `${connections} of ${served} connections open, ${bytesText(up)} from the device, ${bytesText(down)} ` +
    'to it'
  );
}

function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
