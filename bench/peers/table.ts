/** The measurements of one server, the same for all. */
export interface PeerFigures {
  name: string;
  version: string;
  how: string;
  /** Connections that it held; the other figures refer to these. */
  held: number;
  connectsPerSecond: number;
  cpuUsPerConnect: number;
  bytesPerDevice: number;
  /** Per cent of a core. */
  cpuAtRest: number;
  /** Milliseconds from the call to publish. */
  p50Ms: number;
  p99Ms: number;
  lastMs: number;
  /** Messages beyond one for each connection. */
  tooMany: number;
}

/** In Markdown, in the order given. */
export function peersTable(rows: readonly PeerFigures[], missing: readonly string[]): string {
  const lines = rows.map((row) =>
    [
      `${row.name} ${row.version}`,
      row.how,
      whole(row.held),
      whole(row.connectsPerSecond),
      whole(row.cpuUsPerConnect),
      whole(row.bytesPerDevice),
      row.cpuAtRest.toFixed(1),
      `${whole(row.p50Ms)} / ${whole(row.p99Ms)} / **${whole(row.lastMs)}**`,
    ].join(' | '),
  );
  return [
    '| server | how it runs | connections | connects/s | CPU per connect, µs | memory each, bytes | ' +
      'CPU at rest, % of a core | one message to all: p50 / p99 / last, ms |',
    '|---|---|---:|---:|---:|---:|---:|---:|',
    ...lines.map((line) => `| ${line} |`),
    ...missing.map((line) => `\nMissing: ${line}`),
  ].join('\n');
}

const whole = (value: number) => Math.round(value).toLocaleString('en');
