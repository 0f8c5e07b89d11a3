/**
 * The stored form of a device's measurements: names of gateways in tie bands (PROTOCOL.md, G-11), the nearest
 * band first, as a text that is the same for devices in one place. Balancing counts devices by it and needs
 * no milliseconds.
 */
import { type MeasuredGateway, tieBands } from '../../protocol/index.ts';

/** How many of the nearest gateways count: balancing treats the rest of a long list as far away. */
const NAMES_MAX = 8;

/**
 * For example `gw1 gw4|gw2|gw3`; empty for a device that measured nothing. Only names of `known` gateways,
 * because a device may send any name and each text is a class of its own for balancing.
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

/** Orders gateways by band, those in no band last; keeps the given order within a band. */
export function nearestFirst<T extends { name: string }>(gateways: readonly T[], near: string): T[] {
  const bands = bandsOfText(near);
  const place = ({ name }: T) => {
    const band = bands.findIndex((names) => names.includes(name));
    return band < 0 ? bands.length : band;
  };
  return [...gateways].sort((a, b) => place(a) - place(b));
}
