import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Chart, drawChart } from '../../bench/plots/chart.ts';

const chart: Chart = {
  title: 'Less < more & "so on"',
  x: { title: 'x', scale: 'log', format: String },
  y: { title: 'y', scale: 'linear', from: 0, format: String },
  lines: [
    {
      name: 'a',
      points: [
        [1, 0],
        [10, 5],
        [1_000, 20],
      ],
    },
    {
      name: 'b',
      points: [
        [2, 3],
        [20, 9],
      ],
    },
  ],
};

test('a chart is well-formed: elements are closed, texts escaped, numbers are numbers', () => {
  const svg = drawChart(chart);
  const open: string[] = [];
  for (const [, close, name, self] of svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (close) assert.is(open.pop(), name);
    else if (!self) open.push(name as string);
  }
  assert.equal(open, []);
  assert.not.match(svg, /NaN|undefined|Infinity|"so on"/);
});

test('a chart is readable on light and dark pages', () => {
  assert.match(drawChart(chart), /@media \(prefers-color-scheme: dark\)/);
});

test('every line of a chart is in its legend', () => {
  const svg = drawChart(chart);
  assert.match(svg, />a<\/text>/);
  assert.match(svg, />b<\/text>/);
});

test.run();
