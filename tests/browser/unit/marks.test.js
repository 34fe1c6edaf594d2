import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './page.js';

const { pieces, strength, strongest } = await load('marks.js');

test('offsets are code points: letters beyond the first plane count once', () => {
  const words = [{ start: 0, end: 2, score: 1 }, { start: 3, end: 5, score: -1 }];
  const found = pieces('🙂a 한👍z', words);
  assert.deepEqual(found.map(({ text, word }) => [text, word?.score]), [['🙂a', 1], [' ', undefined], ['한👍', -1], ['z', undefined]]);
});

test('half a pair of surrogates and joined emoji are cut only where asked', () => {
  const family = '👨‍👩‍👧';
  assert.deepEqual(pieces(`${family}!`, [{ start: 0, end: 5, score: 1 }]).map(({ text }) => text), [family, '!']);
  assert.equal(pieces('a\ud83d', [{ start: 1, end: 2, score: 1 }]).map(({ text }) => text).join(''), 'a\ud83d');
});

test('spans that leave the text, run backwards or overlap do no harm', () => {
  const words = [{ start: -3, end: 2, score: 1 }, { start: 1, end: 99, score: 2 }, { start: 4, end: 3, score: 3 }, { start: 'x', end: NaN, score: 4 }];
  const found = pieces('abcdef', words, { start: 1, end: 3 }, { start: 4, end: 100 });
  assert.equal(found.map(({ text }) => text).join(''), 'abcdef');
  assert.deepEqual(found.map(({ text, word, best, unread }) => [text, word?.score, best, unread]), [['a', 1, false, false], ['b', 1, true, false], ['c', 2, true, false], ['d', 2, false, false], ['ef', 2, false, true]]);
  assert.deepEqual(pieces('', []), []);
});

test('strength is beside the strongest word', () => {
  const words = [{ score: 0.5 }, { score: -1 }, { score: 0.02 }];
  assert.equal(strongest(words), 1);
  assert.deepEqual(words.map(({ score }) => strength(score, 1)), [2, 4, 0]);
  assert.equal(strength(0, 0), 0);
});
