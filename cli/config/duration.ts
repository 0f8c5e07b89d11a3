/** Durations as people write them: `500ms`, `30s`, `15m`, `2h`, `7d`, or several parts as in `1h30m`. */
const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
type Unit = keyof typeof UNITS;

export const DURATION_FORM = 'a duration such as 30s, 15m, 2h or 7d';

/** Milliseconds, or `null` when `text` is no duration. */
export function parseDuration(text: string): number | null {
  if (text === '0') return 0;
  if (!/^(\d{1,12}(ms|s|m|h|d))+$/.test(text)) return null;
  let total = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|s|m|h|d)/g)) {
    total += Number(count) * UNITS[unit as Unit];
  }
  return Number.isSafeInteger(total) ? total : null;
}

/** The shortest exact form: 90,000 is `1m30s`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  let rest = Math.round(ms);
  let text = '';
  for (const unit of ['d', 'h', 'm', 's', 'ms'] as const) {
    const count = Math.floor(rest / UNITS[unit]);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * UNITS[unit];
  }
  return text;
}

/** For tables: the two largest units and nothing below a second, `3d4h`, `12m5s`, `0s`. */
export function roughDuration(ms: number): string {
  const exact = formatDuration(Math.max(0, Math.floor(ms / 1000) * 1000));
  return (exact.match(/\d+[a-z]+/g) ?? ['0s']).slice(0, 2).join('');
}
