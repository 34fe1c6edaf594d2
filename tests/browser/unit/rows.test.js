import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';

import { load } from './page.js';

const rows = await load('rows.js');
const { DelimitedReader, JsonLinesReader, readTable, sniffEncoding } = rows;

function parse(text, delimiter = ',', size = Infinity) {
  const reader = new DelimitedReader(delimiter);
  for (let at = 0; at < text.length; at += size) reader.push(text.slice(at, at + size));
  const open = reader.finish();
  return { rows: reader.rows, open };
}

const bytes = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part)));
const source = (content) => ({ name: 'x.csv', size: content.length, stream: () => new Blob([content]).stream() });
const read = (content, choices) => readTable(source(content), choices);

test('cells by RFC 4180, however the text is cut into pieces', () => {
  const cases = [
    ['a,b\r\nc,d\r\n', [['a', 'b'], ['c', 'd']]],
    ['a,b\nc,d', [['a', 'b'], ['c', 'd']]],
    ['a,b\rc,d\r', [['a', 'b'], ['c', 'd']]],
    ['"a,b","c\r\nd"\r\ne,f', [['a,b', 'c\r\nd'], ['e', 'f']]],
    ['"say ""hi""",b', [['say "hi"', 'b']]],
    ['"",""\n', [['', '']]],
    ['""\n""\n', [[''], ['']]],
    ['""""\n', [['"']]],
    ['a,\n,b\n', [['a', ''], ['', 'b']]],
    ['\n\na\n\nb\n\n', [['a'], ['b']]],
    ['a"b,5" disk\n', [['a"b', '5" disk']]],
    ['"a"b,c\n', [['ab', 'c']]],
    ['"a\n\n""\n"" b",c', [['a\n\n"\n" b', 'c']]],
    ['글,🙂\n"여러\n줄",끝', [['글', '🙂'], ['여러\n줄', '끝']]],
    [',', [['', '']]],
    ['', []],
  ];
  for (const [text, expected] of cases) {
    for (const size of [Infinity, 1, 2, 3]) assert.deepEqual(parse(text, ',', size), { rows: expected, open: 0 }, JSON.stringify([text, size]));
  }
});

test('a quote that is never closed says in which line it began', () => {
  assert.equal(parse('a,b\nc,"d\ne,f\n').open, 2);
  assert.equal(parse('a\r\nb\r\n"c').open, 3);
});

test('lines are read whole without a delimiter', () => {
  assert.deepEqual(parse('"quoted", and more\nb,c', '').rows, [['"quoted", and more'], ['b,c']]);
});

test('tables: delimiter, header and column of the texts are found', async () => {
  const cases = [
    ['text,label\nhello,a\nworld,b\n', ',', true, 0],
    ['id\tdocument\tlabel\n1\t좋아요\t1\n2\t별로\t0\n', '\t', true, 1],
    ['label;content\n1;"a;b"\n2;c\n', ';', true, 1],
    ['1,a longer sentence stands here\n2,"another, and longer"\n', ',', false, 1],
    ['a sentence, with a comma\nanother one\nand, one, more\n', '', false, 0],
    ['only one line, with a comma', '', false, 0],
    ['review\n좋아요\n', '', true, 0],
    ['when,what\n2020,a sentence that is long enough\n2021,another that is long enough\n', ',', true, 1],
  ];
  for (const [text, delimiter, header, column] of cases) {
    const table = await read(text);
    assert.deepEqual([table.delimiter, table.header, rows.guessTextColumn(table.columns, table.rows)], [delimiter, header, column], text);
  }
});

test('encodings: marks, UTF-16 without one, EUC-KR', async () => {
  const text = 'text,label\r\n좋아요 정말,긍정\r\n별로예요,부정\r\n';
  const utf16le = Buffer.from(text, 'utf16le');
  const utf16be = Buffer.from(utf16le).swap16();
  // The letters that only CP949 has are tested in the browser: Node's EUC-KR lacks them.
  const euckr = bytes([0xc7, 0xd1, 0xb1, 0xdb, 0x2c, 0xb6, 0xf3, 0xba, 0xa7, 0x0a, 0xb0, 0xa1, 0xb3, 0xaa, 0x2c, 0x31, 0x0a]);
  for (const [content, encoding, mark] of [
    [bytes(text), 'utf-8', false],
    [bytes([0xef, 0xbb, 0xbf], text), 'utf-8', true],
    [bytes([0xff, 0xfe], utf16le), 'utf-16le', true],
    [bytes([0xfe, 0xff], utf16be), 'utf-16be', true],
    [utf16le, 'utf-16le', false],
    [utf16be, 'utf-16be', false],
  ]) {
    const table = await read(content);
    assert.deepEqual([table.encoding, table.mark, table.columns, table.rows], [encoding, mark, ['text', 'label'], [['좋아요 정말', '긍정'], ['별로예요', '부정']]]);
  }
  const table = await read(euckr, { header: true });
  assert.deepEqual([table.encoding, table.columns, table.rows], ['euc-kr', ['한글', '라벨'], [['가나', '1']]]);
  assert.equal(sniffEncoding(new Uint8Array()).encoding, 'utf-8');
});

test('a letter of several bytes may be cut by the pieces of a stream', async () => {
  const content = bytes('text,x\n', '가나다라마바사'.repeat(40_000), ',1\n끝,2\n');
  const table = await read(content);
  assert.equal(table.encoding, 'utf-8');
  assert.deepEqual(table.rows.map((row) => row[0].length), [280_000, 1]);
});

test('a file that breaks UTF-8 far from its beginning is read as EUC-KR from the start', async () => {
  const table = await read(bytes('text\n', 'plain ascii\n'.repeat(20_000), [0xb1, 0xdb], '\n'));
  assert.deepEqual([table.encoding, table.rows.length, table.rows.at(-1)], ['euc-kr', 20_001, ['글']]);
});

test('what is no text is refused by name', async () => {
  const refused = async (content, key) => assert.rejects(read(content), (error) => error.key === key, key);
  await refused(bytes('PK\u0003\u0004', 'x'.repeat(100)), 'file.binary');
  await refused(bytes('PAR1', 'x'.repeat(100)), 'file.binary');
  await refused(bytes('a,b\n', [0xff, 0xff]), 'file.encoding');
  await assert.rejects(readTable(source(bytes('a'.repeat(100))), {}, { limit: 10 }), (error) => error.key === 'file.large');
});

test('gzip is unpacked, and what it holds is limited', async () => {
  const packed = gzipSync('text,label\nhello,a\n');
  assert.deepEqual((await read(packed)).rows, [['hello', 'a']]);
  const bomb = gzipSync(Buffer.alloc(1_000_000, 'a'));
  await assert.rejects(readTable(source(bomb), {}, { limit: 100_000 }), (error) => error.key === 'file.large');
  await assert.rejects(read(packed.subarray(0, 20)), (error) => error.key === 'file.unreadable');
});

test('JSON lines: keys in any order, strings, what is neither', async () => {
  const table = await read('{"text":"a","n":1}\n"b"\nnonsense\n\n{"n":[1],"text":"c","__proto__":"p","late":null}\n[1]\n');
  assert.deepEqual(table.columns, ['text', 'n', '__proto__', 'late']);
  assert.deepEqual(table.rows, [['a', '1', '', ''], ['b', '', '', ''], ['c', '[1]', 'p', '']]);
  assert.deepEqual([table.jsonl, table.bad, table.firstBad], [true, 2, 3]);
  const reader = new JsonLinesReader();
  for (const letter of '{"a":"x"}\r\n{"a":"y"}') reader.push(letter);
  reader.finish();
  assert.deepEqual(reader.rows, [['x'], ['y']]);
});

test('a stray quote does not swallow the rest of the file', async () => {
  const table = await read('text\tlabel\n"never closed\ta\nb\tc\nd\te\n');
  assert.equal(table.unquoted, 2);
  assert.deepEqual(table.rows, [['"never closed', 'a'], ['b', 'c'], ['d', 'e']]);
});

test('uneven rows are filled and cut, and counted; names are made unique', async () => {
  const table = await read('text,text,\na,b\nc,d,e,f\ng,h,i\nj,k,l\nm,n,o\np,q,r\ns,t,u\nv,w,x\ny,z,1\n');
  assert.deepEqual(table.columns, ['text', 'text (2)', 'column 3']);
  assert.equal(table.uneven, 2);
  assert.deepEqual(table.rows.slice(0, 2), [['a', 'b', ''], ['c', 'd', 'e']]);
});

test('a hundred thousand rows are read in seconds', async () => {
  const line = '12345,"A sentence, with a comma and a ""quote"" in it, of the usual length of a review.",label\r\n';
  const began = performance.now();
  const table = await read(bytes('id,text,label\r\n', line.repeat(100_000)));
  assert.equal(table.rows.length, 100_000);
  assert.ok(performance.now() - began < 10_000);
});

test('any text of quotes, delimiters and line ends is the same however it is cut', () => {
  let seed = 7;
  const random = (below) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % below;
  };
  for (let round = 0; round < 3000; round += 1) {
    const text = Array.from({ length: random(14) }, () => '",\n\ra🙂'.split('')[random(7)]).join('');
    const whole = parse(text);
    for (const size of [1, 2, 5]) assert.deepEqual(parse(text, ',', size), whole, JSON.stringify(text));
  }
});
