// A text with its words marked by how much they speak for a label or against it. Colour is never alone: words that speak for it have a solid line
// below, words that speak against it a dashed one, thicker the more they say; the numbers stand in a table.

import { el } from './dom.js';
import { percent, signed, t } from './language.js';
import { pieces, strength, strongest } from './marks.js';

/** Which of the two texts a word is of. */
const ofPair = (word) => word.pair === true;

/** A span that takes up most of its text says nothing. */
const tells = (span, letters) => span.end - span.start <= 0.6 * letters[ofPair(span) ? 1 : 0].length;

/** The words of a map, whatever the route calls them. */
export const wordsOf = (map) => map.words ?? map.spans ?? [];

/** Words that neither repeat a word that stands for it nor say nothing, the strongest first. */
const told = (words) => [...words].sort((a, b) => Math.abs(b.score) - Math.abs(a.score));

/** The map of one label: `text` and perhaps `pair` with marks, the legend, and a table. */
export function drawMap(map, { text, pair, unread, unreadPair }) {
  const words = wordsOf(map);
  const most = strongest(words);
  const clear = most >= 0.0005;
  const draw = (content, part, span, rest) =>
    el('p', { class: 'map', dir: 'auto' }, pieces(content, part, span, rest).map((piece) => mark(piece, clear ? most : 0)));
  const first = words.filter((word) => !ofPair(word));
  const second = words.filter(ofPair);
  const letters = [Array.from(text), Array.from(pair ?? '')];
  const best = clear && map.best && tells(map.best, letters) ? map.best : null;
  const say = (word) => word.text ?? letters[ofPair(word) ? 1 : 0].slice(word.start, word.end).join('');
  return [
    pair ? el('h4', {}, t('why.first')) : null,
    draw(text, first, best && !ofPair(best) ? best : null, unread),
    pair ? el('h4', {}, t('why.second')) : null,
    pair ? draw(pair, second, best && ofPair(best) ? best : null, unreadPair) : null,
    clear ? legend(words, best, unread ?? unreadPair, most) : el('p', { class: 'hint' }, t('why.none')),
    words.length > 0 && el('details', {}, el('summary', {}, t('why.table')), table(told(words).slice(0, 40), say)),
  ];
}

function mark({ text, word, best, unread }, most) {
  const level = word && most > 0 ? strength(word.score, most) : 0;
  const names = [level && (word.score > 0 ? 'for' : 'against'), level && `s${level}`, best && 'best', unread && 'unread'].filter(Boolean);
  if (names.length === 0) return text;
  const tip = word && level ? `${signed(word.score)} ${t(word.score > 0 ? 'why.for' : 'why.against')}` : null;
  return el(unread ? 's' : 'mark', { class: names.join(' '), title: tip }, text);
}

function legend(words, best, unread, most) {
  const has = (sign) => words.some((word) => Math.sign(word.score) === sign && strength(word.score, most) > 0);
  const entry = (kind, sign, key) =>
    el('li', {}, el('span', { class: 'swatches', 'aria-hidden': 'true' }, [1, 2, 3, 4].map((level) => el('mark', { class: `${kind} s${level}` }, sign))), t(key));
  return el('ul', { class: 'legend', 'aria-label': t('why.legend') },
    has(1) && entry('for', '+', 'why.for'),
    has(-1) && entry('against', '−', 'why.against'),
    best && el('li', {}, el('mark', { class: 'best', 'aria-hidden': 'true' }, '\u2003'), t('why.best')),
    unread && el('li', {}, el('s', { class: 'unread', 'aria-hidden': 'true' }, '\u2003'), t('why.unread')));
}

function table(words, say) {
  const without = words.some((word) => Number.isFinite(word.probability));
  return el('div', { class: 'table' }, el('table', { class: 'words' },
    el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, t('why.word')), el('th', { scope: 'col', class: 'number' }, t('why.weight')),
      without && el('th', { scope: 'col', class: 'number' }, t('why.without')))),
    el('tbody', {}, words.map((word) => el('tr', {}, el('td', {}, say(word)), el('td', { class: 'number' }, signed(word.score)),
      without && el('td', { class: 'number' }, Number.isFinite(word.probability) ? percent(word.probability) : ''))))));
}
