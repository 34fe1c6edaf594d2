import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './page.js';

const { csvCell, exportPieces, freeName, labelsOf } = await load('export.js');
const { readTable } = await load('rows.js');

test('cells that a spreadsheet would run are made harmless, numbers are not touched', () => {
  for (const [given, expected] of [
    ['plain', 'plain'],
    ['a,b', '"a,b"'],
    ['say "hi"', '"say ""hi"""'],
    ['two\nlines', '"two\nlines"'],
    [' blank ', '" blank "'],
    ['=1+1', "'=1+1"],
    ['=HYPERLINK("http://x","y")', '"\'=HYPERLINK(""http://x"",""y"")"'],
    ['+82 10', "'+82 10"],
    ['-_-', "'-_-"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['\t=1', '"\'\t=1"'],
    ['＝1+1', "'＝1+1"],
    ['-1', '-1'],
    ['+1.5', '+1.5'],
    ['-1e-9', '-1e-9'],
    ['.5', '.5'],
    [0.25, '0.25'],
    [null, ''],
    [undefined, ''],
  ]) assert.equal(csvCell(given), expected, JSON.stringify(given));
});

test('names of columns do not hide those of the file', () => {
  assert.equal(freeName('label', ['text', 'label', 'label_2']), 'label_3');
});

const table = { columns: ['text', 'label', '__proto__'], rows: [['a,"b"\n=c', 'gold', 'p'], ['=x', 'g', 'q'], ['', '', ''], ['z', '', ''], ['late', '', '']] };
const results = [
  { label: 'A', score: 0.75, scores: { A: 0.75, B: 0.25 }, abstained: false, truncated: true },
  { label: ['A', 'B'], score: 0.9 },
  null,
  { error: 'too long' },
  undefined,
];

test('csv: what was written is what is read', async () => {
  const text = [...exportPieces(table, results, { kind: 'csv', mark: true })].join('');
  assert.ok(text.startsWith('\ufefftext,label,__proto__,label_2,score,scores,note\r\n'));
  const read = await readTable({ text: text.slice(1) }, { delimiter: ',', header: true });
  assert.deepEqual(read.rows, [
    ['a,"b"\n=c', 'gold', 'p', 'A', '0.75', '{"A":0.75,"B":0.25}', 'truncated'],
    ["'=x", 'g', 'q', 'A, B', '0.9', '', ''],
    ['', '', '', '', '', '', 'empty'],
    ['z', '', '', '', '', '', 'error: too long'],
  ]);
});

test('JSON lines: texts as they were', () => {
  const lines = [...exportPieces(table, results, { kind: 'jsonl' })].join('').trimEnd().split('\n');
  assert.equal(lines.length, 4);
  assert.ok(lines[0].includes('"__proto__":"p"'));
  const objects = lines.map((line) => JSON.parse(line));
  assert.deepEqual(objects[0].label_2, 'A');
  assert.deepEqual([objects[1].text, objects[1].label_2], ['=x', ['A', 'B']]);
  assert.deepEqual([objects[2].note, objects[3].note], ['empty', 'error: too long']);
});

test('labels of every kind of result', () => {
  assert.deepEqual(labelsOf({ label: 3.5 }), ['3.5']);
  assert.deepEqual(labelsOf({ label: null, abstained: true }), []);
  assert.deepEqual(labelsOf({ aspects: [{ keyword: '배송', sentiment: '부정' }] }), ['배송: 부정']);
  assert.deepEqual(labelsOf(null), []);
});
