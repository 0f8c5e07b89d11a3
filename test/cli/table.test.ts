import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NO_STYLE, styleFor } from '../../cli/output/style.ts';
import { type Column, plain, renderTable } from '../../cli/output/table.ts';

interface Row {
  name: string;
  count: number;
}
const columns: Column<Row>[] = [
  { title: 'NAME', value: (row) => row.name, shrink: true },
  { title: 'COUNT', value: (row) => row.count, align: 'right' },
];

test('columns are aligned, numbers to the right', () => {
  const lines = renderTable(
    columns,
    [
      { name: 'a', count: 5 },
      { name: 'longer', count: 12345 },
    ],
    { style: NO_STYLE },
  );
  assert.equal(lines, ['NAME    COUNT', 'a           5', 'longer  12345']);
});

test('a table is cut to the width of the terminal, and never in a pipe', () => {
  const rows = [{ name: 'x'.repeat(100), count: 1 }];
  const cut = renderTable(columns, rows, { width: 40, style: NO_STYLE });
  assert.ok(cut.every((line) => line.length <= 40));
  assert.match(cut[1] ?? '', /x…/);
  assert.ok((renderTable(columns, rows, { style: NO_STYLE })[1] ?? '').includes('x'.repeat(100)));
});

test('control characters in names do not reach the terminal', () => {
  assert.is(plain('a\u001b[2Jb\nc\u202ed'), 'a [2Jb c d');
  assert.is(plain(null), '-');
  assert.is(plain(''), '-');
  assert.is(plain(0), '0');
});

test('colour is for terminals without NO_COLOR only', () => {
  assert.is(styleFor({ isTTY: false }, {}).red('x'), 'x');
  assert.is(styleFor({ isTTY: true }, { NO_COLOR: '1' }).red('x'), 'x');
  assert.is(styleFor({ isTTY: true }, { TERM: 'dumb' }).red('x'), 'x');
  assert.is.not(styleFor({ isTTY: true }, {}).red('x'), 'x');
});

test.run();
