// Which letters of a text are marked, and how strongly. Offsets are code points, as Python counts them, never UTF-16 units. Needs no document.

/**
 * Cuts `text` into pieces: `[{ text, word, best }]`, where `word` is the entry of `words` that covers the piece (or null) and `best` says
 * whether it lies in the span `best`. Spans that overlap, run backwards or leave the text are cut to what they can be.
 */
export function pieces(text, words, best, unread) {
  const letters = Array.from(text);
  const within = (offset) => Math.max(0, Math.min(letters.length, Math.trunc(Number(offset)) || 0));
  const spans = words
    .map((word) => ({ word, start: within(word.start), end: within(word.end) }))
    .filter(({ start, end }) => start < end)
    .sort((a, b) => a.start - b.start || a.end - b.end);
  const edges = new Set([0, letters.length]);
  const around = (span) => (span ? { start: within(span.start), end: within(span.end) } : null);
  const bestSpan = around(best);
  const unreadSpan = around(unread);
  for (const span of [...spans, bestSpan, unreadSpan]) {
    if (span) edges.add(span.start).add(span.end);
  }
  const cuts = [...edges].sort((a, b) => a - b);
  const inside = (span, at) => span !== null && span.start <= at && at < span.end;
  const cut = [];
  let index = 0;
  for (let edge = 0; edge + 1 < cuts.length; edge += 1) {
    const start = cuts[edge];
    while (index < spans.length && spans[index].end <= start) index += 1;
    const covering = index < spans.length && inside(spans[index], start) ? spans[index].word : null;
    cut.push({
      text: letters.slice(start, cuts[edge + 1]).join(''),
      word: covering,
      best: inside(bestSpan, start),
      unread: inside(unreadSpan, start),
    });
  }
  return cut;
}

/** Scores below this part of the strongest one are not worth a mark. */
const FAINTEST = 0.08;

/** How strongly a word is marked, from 0 to 4, beside the strongest of the text. */
export function strength(score, strongest) {
  const share = strongest > 0 ? Math.abs(score) / strongest : 0;
  return share < FAINTEST ? 0 : Math.min(4, 1 + Math.floor(share * 4 * 0.999));
}

/** The largest size of a score. */
export const strongest = (words) => words.reduce((most, { score }) => Math.max(most, Math.abs(score) || 0), 0);
