/**
 * What is stored of how near gateways are to a device: their names in tie bands (PROTOCOL.md, G-11), the
 * nearest band first, as text that is the same for devices of one place. Balancing counts devices by it and
 * needs no milliseconds.
 */
import { type MeasuredGateway, tieBands } from '../../protocol/index.ts';

/** Nearest gateways that count: the rest of a long list is far away for balancing. */
const NAMES_MAX = 8;

/**
 * For example `gw1 gw4|gw2|gw3`; empty for a device that measured nothing. Only names of `known` gateways: a
 * device may send any, and each text is a class of its own for balancing.
 */
export function nearText(measured: readonly MeasuredGateway[], known: ReadonlySet<string>): string {
  const nearest = measured
    .filter(({ name }) => known.has(name))
    .sort((a, b) => a.ms - b.ms)
    .slice(0, NAMES_MAX);
  return bandsOfMeasured(nearest)
    .map((band) => [...band].sort().join(' '))
    .join('|');
}

export function bandsOfMeasured(measured: readonly MeasuredGateway[]): string[][] {
  return tieBands(measured.map(({ name, ms }) => [name, ms] as const));
}

export function bandsOfText(near: string): string[][] {
  return near === '' ? [] : near.split('|').map((band) => band.split(' '));
}

/** Orders gateways by the bands, those in none last; each in the order given. */
export function nearestFirst<T extends { name: string }>(gateways: readonly T[], near: string): T[] {
  const bands = bandsOfText(near);
  const place = ({ name }: T) => {
    const band = bands.findIndex((names) => names.includes(name));
    return band < 0 ? bands.length : band;
  };
  return [...gateways].sort((a, b) => place(a) - place(b));
}
