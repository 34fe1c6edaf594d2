import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './page.js';

const { inline, parse, safeAddress } = await load('markdown.js');
const kinds = (text) => parse(text).map(({ kind }) => kind);

test('a model card', () => {
  const card = '---\nlibrary_name: transformers\n---\n\n# Title\n\nText with `a_b` and **bold**.\nGoes on.\n\n### Validation\n\n| metric | value |\n|---|---:|\n| loss | 0.3 |\n| a\\|b | `x|y` |\n\n```\ngareum predict\n```\n\n- one\n- two\n  more\n1. first\n\n> said\n\n***\n';
  assert.deepEqual(kinds(card), ['heading', 'paragraph', 'heading', 'table', 'code', 'list', 'list', 'quote', 'rule']);
  const [, paragraph, , table, code, list] = parse(card);
  assert.deepEqual(paragraph.inline, ['Text with ', { kind: 'code', text: 'a_b' }, ' and ', { kind: 'strong', inline: ['bold'] }, '. Goes on.']);
  assert.deepEqual(table.right, [false, true]);
  assert.deepEqual(table.rows[1], [['a|b'], [{ kind: 'code', text: 'x|y' }]]);
  assert.equal(code.text, 'gareum predict');
  assert.equal(list.items.length, 2);
});

test('nothing in it is markup of HTML', () => {
  assert.deepEqual(parse('<script>alert(1)</script>'), [{ kind: 'paragraph', inline: ['<script>alert(1)</script>'] }]);
  assert.deepEqual(inline('<img src=x onerror=alert(1)>'), ['<img src=x onerror=alert(1)>']);
  assert.deepEqual(parse('<!-- not said -->'), []);
});

test('links lead to http and https only, pictures nowhere', () => {
  for (const address of ['javascript:alert(1)', 'JaVaScRiPt:alert(1)', 'data:text/html,x', '//evil.example', '/models', 'file:///x', 'https:', ' javascript:x']) assert.equal(safeAddress(address), false, address);
  assert.equal(safeAddress('https://example.org/a?b=c'), true);
  assert.deepEqual(inline('[x](javascript:alert(1))').at(0), 'x');
  assert.deepEqual(inline('[x](https://example.org)'), [{ kind: 'link', to: 'https://example.org', inline: ['x'] }]);
  assert.deepEqual(inline('![plot](https://example.org/a.png) after'), ['plot after']);
});

test('marks within words, escapes and what is never closed are letters', () => {
  assert.deepEqual(inline('snake_case_name'), ['snake_case_name']);
  assert.deepEqual(inline('\\*not\\* \\<b\\>'), ['*not* <b>']);
  assert.deepEqual(inline('**open and `open'), ['**open and `open']);
});

test('hostile depth and length end soon', () => {
  const began = performance.now();
  for (const text of ['>'.repeat(50_000), `${' '.repeat(3)}- `.repeat(20_000), '*'.repeat(50_000), '['.repeat(50_000), '`'.repeat(50_000), '_a'.repeat(30_000), '|'.repeat(20_000), '| a\n|-|\n'.repeat(5000)]) parse(text);
  assert.ok(performance.now() - began < 5000, `${performance.now() - began} ms`);
});
