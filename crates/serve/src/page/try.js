// The section where a text is tried: its labels with bars, the words that speak for each, keywords with their sentiment, and what was tried before.

import { call, inWords, wellFormed } from './api.js';
import { breakable, byId, el, replace } from './dom.js';
import { drawMap } from './highlight.js';
import { milliseconds, number, percent, remember, remembered, t } from './language.js';
import { examples } from './strings.js';

const METHODS = ['occlusion', 'integrated_gradients', 'gradient_input'];
/** Labels shown before one asks for all. */
const FEW = 6;
/** More decided labels than this are listed small. */
const MANY = 4;
const MOST_TRIES = 20;
/** Stands for the label of a model that gives a number. */
const VALUE = Symbol('value');
/** The words of models for a sentiment, by what it is. */
const SENTIMENTS = {
  positive: ['positive', 'pos', 'good', '긍정', '긍정적', '1', '+1'],
  negative: ['negative', 'neg', 'bad', '부정', '부정적', '-1'],
  neutral: ['neutral', 'neu', 'mixed', '중립', '보통'],
};

export function startTry(page) {
  const text = byId('text');
  const pair = byId('pair');
  const answer = byId('try-result');
  const state = { tried: null, chosen: null, all: false, method: METHODS[0], particles: remembered('gareum-particles') === 'yes', without: new Set(), maps: new Map(), running: null, weighing: null, problem: null, tries: [] };
  try {
    state.tries = JSON.parse(remembered('gareum-tries', 'sessionStorage')) ?? [];
  } catch {
    // What cannot be read is no list.
  }
  if (METHODS.includes(remembered('gareum-method'))) state.method = remembered('gareum-method');

  // What is asked.

  function count() {
    byId('count').textContent = text.value ? t('try.characters', { n: Array.from(text.value).length }) : '';
  }

  function showPair(shown) {
    byId('pair-part').hidden = !shown;
    byId('pair-toggle').setAttribute('aria-expanded', String(shown));
    byId('pair-toggle').dataset.t = shown ? 'try.pair.remove' : 'try.pair.add';
    byId('pair-toggle').textContent = t(byId('pair-toggle').dataset.t);
    if (!shown) pair.value = '';
  }

  async function classify() {
    const asked = { text: wellFormed(text.value), pair: byId('pair-part').hidden ? '' : wellFormed(pair.value) };
    if (asked.text.trim() === '') {
      state.problem = el('p', { class: 'notice warning', role: 'alert' }, t('try.need'));
      draw();
      text.focus();
      return;
    }
    const model = page.model()?.name;
    state.running?.abort();
    state.weighing?.abort();
    const running = new AbortController();
    state.running = running;
    state.problem = null;
    answer.setAttribute('aria-busy', 'true');
    byId('classify').dataset.t = 'try.busy';
    byId('classify').textContent = t('try.busy');
    const began = performance.now();
    try {
      const inputs = asked.pair ? { text: asked.text, text_pair: asked.pair } : asked.text;
      const chain = page.model()?.kind === 'chain';
      const { results, model: by } = await call('classify', { body: { inputs: [inputs], model, highlight: chain || undefined }, signal: running.signal });
      const result = results[0];
      state.tried = { ...asked, result, model: by ?? model, time: performance.now() - began };
      state.maps = new Map();
      state.all = false;
      state.chosen = null;
      state.problem = null;
      keepTry(state.tried);
      page.announce(announcement(result));
      const first = result.aspects ? (result.aspects.length ? 0 : null) : isNumber(result) ? VALUE : decidedOf(result)[0] ?? ranked(result)[0]?.[0] ?? null;
      if (first !== null) choose(first);
      else draw();
      if (matchMedia('(max-width: 899px)').matches) answer.scrollIntoView({ block: 'start', behavior: 'auto' });
    } catch (error) {
      if (running.signal.aborted) return;
      state.tried = null;
      state.problem = page.problem(error, classify);
      draw();
    } finally {
      if (state.running === running) {
        state.running = null;
        answer.setAttribute('aria-busy', 'false');
        byId('classify').dataset.t = 'try.classify';
        byId('classify').textContent = t('try.classify');
      }
    }
  }

  function clear() {
    state.running?.abort();
    state.weighing?.abort();
    text.value = '';
    showPair(false);
    Object.assign(state, { tried: null, chosen: null, problem: null });
    count();
    draw();
    text.focus();
  }

  /** Puts a text into the field and classifies it. */
  function take(value, second = '') {
    text.value = value;
    showPair(Boolean(second));
    pair.value = second;
    count();
    classify();
  }
  page.take = take;

  // Which words speak for a label.

  async function choose(label) {
    state.chosen = label;
    draw();
    const tried = state.tried;
    if (tried.result.aspects) return;
    if (state.without.has(`${tried.model} ${state.method}`)) state.method = METHODS[0];
    const kept = mapKey(label);
    if (state.maps.has(kept)) return;
    // What nobody waits for any more need not be computed.
    state.weighing?.abort();
    const weighing = new AbortController();
    state.weighing = weighing;
    state.maps.set(kept, { busy: true });
    draw();
    const { method } = state;
    let entry;
    try {
      const inputs = tried.pair ? { text: tried.text, text_pair: tried.pair } : tried.text;
      const { results } = await call('explain', { body: { inputs: [inputs], model: tried.model, method, labels: label === VALUE ? undefined : [label], units: splits(tried) ? 'particles' : undefined }, signal: weighing.signal });
      const map = results[0].maps.find((found) => found.label === label) ?? results[0].maps[0];
      entry = { map, explanation: results[0] };
    } catch (error) {
      if (weighing.signal.aborted) {
        if (state.tried === tried) state.maps.delete(kept);
        return;
      }
      entry = { error };
    }
    // Another text may have been tried meanwhile.
    if (state.tried !== tried) return;
    // Servers answer the methods of gradients only where they are told to.
    if (entry.error?.kind === 'unfit' && method !== METHODS[0]) {
      state.maps.delete(kept);
      for (const other of METHODS.slice(1)) state.without.add(`${tried.model} ${other}`);
      state.method = METHODS[0];
      page.announce(t('why.off'));
      choose(state.chosen);
      return;
    }
    state.maps.set(kept, entry);
    draw();
  }

  /** Whether particles stand apart: asked for, and there are some. */
  const splits = ({ text: value, pair: second }) => state.particles && /\p{Script=Hangul}/u.test(value + second);
  const mapKey = (label) => `${state.method} ${splits(state.tried)} ${String(label)}`;

  // What is shown.

  function draw() {
    const focused = document.activeElement?.closest?.('#try-result') ? document.activeElement.dataset.focus : null;
    const scrolled = answer.querySelector('.bars.all')?.scrollTop;
    const { tried, problem } = state;
    if (problem) replace(answer, problem);
    else if (!tried) replace(answer, el('div', { class: 'nothing' }, el('h2', {}, t('try.empty.title')), el('p', {}, t('try.empty.text'))));
    else if (tried.result.aspects) drawChain(tried);
    else drawLabels(tried);
    const list = answer.querySelector('.bars.all');
    if (list && scrolled) list.scrollTop = scrolled;
    if (focused) answer.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  function foot({ result, time, model }) {
    return el('p', { class: 'hint foot' }, [model, result.tokens && t('try.tokens', { n: result.tokens }), milliseconds(time)].filter(Boolean).join(' · '));
  }

  function drawLabels(tried) {
    const { result } = tried;
    const parts = [el('h2', {}, t('try.result'))];
    if (isNumber(result)) {
      parts.push(verdict(number(result.label, 3), t('try.value')));
      const entry = state.maps.get(mapKey(VALUE));
      replace(answer, parts, cutNotice(result, Boolean(entry?.explanation?.unread)), why(tried, entry), foot(tried));
      return;
    }
    const sorted = ranked(result);
    const decided = decidedOf(result);
    if (decided.length === 1 && !Array.isArray(result.label)) {
      parts.push(verdict(decided[0], percent(result.score ?? result.scores[decided[0]])));
    } else if (decided.length > MANY) {
      // Their probabilities stand beside the bars.
      parts.push(el('ul', { class: 'verdicts names' }, decided.map((label) => el('li', {}, breakable(label)))));
    } else if (decided.length) {
      parts.push(el('ul', { class: 'verdicts' }, decided.map((label) => el('li', {}, verdict(label, percent(result.scores[label]))))));
    } else {
      parts.push(verdict(t(result.abstained ? 'try.abstained' : 'try.none'), null));
      parts.push(el('p', { class: 'notice warning' }, result.abstained && sorted.length ? t('try.abstained.note', { label: sorted[0][0] }) : t('try.none.note')));
    }
    const entry = state.chosen === null ? null : state.maps.get(mapKey(state.chosen));
    parts.push(cutNotice(result, Boolean(entry?.explanation?.unread)));
    const shown = state.all ? sorted : sorted.slice(0, Math.max(FEW, decided.length));
    parts.push(el('ol', { class: state.all && sorted.length > 12 ? 'bars all' : 'bars' }, shown.map(([label, score]) => bar(label, score, decided.includes(label), () => choose(label), state.chosen === label, t('try.explain.label', { label }), limitOf(label)))));
    if (shown.some(([label]) => limitOf(label) !== null)) parts.push(el('p', { class: 'hint' }, t('try.limit')));
    if (sorted.length > shown.length || state.all) {
      const toggle = () => {
        state.all = !state.all;
        draw();
      };
      if (sorted.length > FEW) parts.push(el('button', { type: 'button', class: 'plain', 'data-focus': 'more', 'aria-expanded': String(state.all), on: { click: toggle } }, state.all ? t('try.less') : t('try.more', { n: sorted.length })));
    }
    if (state.chosen !== null) parts.push(why(tried, entry));
    replace(answer, parts, foot(tried));
  }

  /** The threshold of a label, if one was fitted. */
  function limitOf(label) {
    const model = page.model();
    // With a single label the best one is given, whatever its probability.
    if (model?.task !== 'multi_label') return null;
    const limit = model.thresholds?.[model.labels?.indexOf(label) ?? -1];
    return Number.isFinite(limit) && limit > 0 && limit < 1 ? limit : null;
  }

  function why(tried, entry) {
    const off = (method) => state.without.has(`${tried.model} ${method}`);
    const section = el('section', { class: 'why', 'aria-busy': String(Boolean(entry?.busy)) },
      el('h3', {}, state.chosen === VALUE ? t('why.value') : breakable(t('why.title', { label: state.chosen }))),
      el('fieldset', { class: 'switch' }, el('legend', {}, t('why.method')), METHODS.map((method) => el('label', {},
        el('input', { type: 'radio', name: 'method', value: method, checked: method === state.method, disabled: off(method), 'data-focus': `method-${method}`, on: { change: () => {
          state.method = method;
          remember('gareum-method', method);
          choose(state.chosen);
        } } }), el('span', {}, t(`why.method.${method}`))))));
    if (/\p{Script=Hangul}/u.test(tried.text + tried.pair)) {
      section.append(el('label', { class: 'check' }, el('input', { type: 'checkbox', checked: state.particles, 'data-focus': 'particles', on: { change: (event) => {
        state.particles = event.target.checked;
        remember('gareum-particles', state.particles ? 'yes' : null);
        choose(state.chosen);
      } } }), t('why.particles')));
    }
    if (!entry || entry.busy) section.append(el('p', { class: 'map waiting', dir: 'auto' }, tried.text), el('p', { class: 'hint' }, t('why.busy')));
    else if (entry.error) {
      const { text: said, detail } = inWords(entry.error);
      section.append(el('div', { class: 'notice problem', role: 'alert' }, el('p', {}, el('b', {}, t('why.failed')), ' ', said), detail && el('p', { class: 'detail' }, detail)));
    } else {
      const { map, explanation } = entry;
      section.append(el('p', { class: 'hint' }, t(`why.note.${state.method}`), METHODS.some(off) && ` ${t('why.off')}`));
      const texts = { text: explanation.text ?? tried.text, pair: explanation.text_pair ?? tried.pair, unread: explanation.unread, unreadPair: explanation.unread_pair };
      section.append(...drawMap(map ?? { words: [] }, texts).filter(Boolean));
    }
    return section;
  }

  function drawChain(tried) {
    const { result } = tried;
    const aspects = result.aspects;
    const parts = [el('h2', {}, t('try.result'))];
    if (aspects.length === 0) parts.push(verdict(t('try.none'), null), el('p', { class: 'notice warning' }, t('try.keywords.none')));
    const highlights = state.chosen === null ? null : aspects[state.chosen]?.highlights;
    const map = Array.isArray(highlights) ? highlights[0] : highlights;
    parts.push(cutNotice(result, Boolean(map?.unread)));
    parts.push(el('ul', { class: 'aspects' }, aspects.map((aspect, index) => el('li', {},
      el('button', { type: 'button', 'aria-pressed': String(state.chosen === index), 'data-focus': `aspect-${index}`, title: t('try.explain.label', { label: aspect.keyword }), on: { click: () => choose(index) } },
      el('span', { class: 'keyword' }, breakable(aspect.keyword)), chip(aspect.sentiment), el('span', { class: 'value' }, percent(aspect.score)))))));
    if (map) {
      const { keyword } = aspects[state.chosen];
      parts.push(el('section', { class: 'why' }, el('h3', {}, breakable(t('why.title', { label: `${keyword}: ${sentimentOf(aspects[state.chosen].sentiment).word}` }))),
        drawMap(map, { text: tried.text, pair: tried.pair, unread: map.unread ?? result.unread })));
    }
    const keywords = Object.entries(result.keywords ?? {}).sort((a, b) => b[1] - a[1]);
    const found = aspects.map(({ keyword }) => keyword);
    if (keywords.length) {
      parts.push(el('details', { open: aspects.length === 0 }, el('summary', {}, t('try.keywords.all', { n: keywords.length })),
        el('ol', { class: 'bars still' }, keywords.map(([keyword, score]) => bar(keyword, score, found.includes(keyword))))));
    }
    replace(answer, parts, foot(tried));
  }

  function cutNotice(result, crossed) {
    return result.truncated && el('p', { class: 'notice warning' }, t(crossed ? 'try.truncated' : 'try.truncated.plain', { n: page.model()?.max_length ?? result.tokens ?? '' }));
  }

  // What was tried before.

  function keepTry({ text: value, pair: second, result }) {
    const label = result.aspects ? aspectsInWords(result.aspects)
      : isNumber(result) ? number(result.label, 3) : decidedOf(result).join(', ');
    const score = result.aspects || isNumber(result) || Array.isArray(result.label) ? null : result.score;
    const rest = state.tries.filter((entry) => entry.text !== value || (entry.pair ?? '') !== second);
    // Long texts would fill what a browser keeps.
    if (value.length + second.length <= 5000) state.tries = [{ text: value, pair: second, label, score }, ...rest].slice(0, MOST_TRIES);
    remember('gareum-tries', JSON.stringify(state.tries), 'sessionStorage');
    drawTries();
  }

  function drawTries() {
    byId('history-part').hidden = state.tries.length === 0;
    replace(byId('history'), state.tries.map((entry) => el('li', {}, el('button', { type: 'button', on: { click: () => take(entry.text, entry.pair) } }, el('span', { class: 'unseen' }, t('history.again')),
      el('span', { class: 'said', dir: 'auto' }, entry.text),
      el('span', { class: 'label' }, entry.label || '–', Number.isFinite(entry.score) ? ` ${percent(entry.score)}` : '')))));
  }

  function drawExamples() {
    const model = page.model();
    const names = model?.labels ?? [];
    // Labels in Hangul, or a card in it, say what the model was trained on; else the page's language decides.
    const korean = names.some((name) => /\p{Script=Hangul}/u.test(name)) || (!names.some((name) => /[a-z]{3}/iu.test(name)) && document.documentElement.lang === 'ko');
    const given = Array.isArray(model?.examples) && model.examples.length ? model.examples.filter((one) => typeof one === 'string').slice(0, 5) : examples[korean ? 'ko' : 'en'];
    replace(byId('examples'), given.map((example) => el('li', {}, el('button', { type: 'button', on: { click: () => take(example) } }, example))));
  }

  byId('try-form').addEventListener('submit', (event) => {
    event.preventDefault();
    classify();
  });
  byId('try-form').addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      classify();
    } else if (event.key === 'Escape' && state.running) {
      state.running.abort();
      draw();
    }
  });
  text.addEventListener('input', count);
  byId('clear').addEventListener('click', clear);
  byId('pair-toggle').addEventListener('click', () => {
    showPair(byId('pair-part').hidden);
    (byId('pair-part').hidden ? text : pair).focus();
  });
  byId('history-clear').addEventListener('click', () => {
    state.tries = [];
    remember('gareum-tries', null, 'sessionStorage');
    drawTries();
    text.focus();
  });
  document.addEventListener('language', () => {
    count();
    draw();
    drawTries();
    drawExamples();
  });
  let shownModel;
  document.addEventListener('model', () => {
    drawExamples();
    const error = page.modelsError();
    if (error && !page.model()) state.problem = page.problem(error, () => page.loadModels());
    else if (!page.model()) state.problem = el('p', { class: 'notice warning' }, t('model.none'));
    else if (page.model().name !== shownModel) {
      state.problem = null;
      // The same text under another model is what one wants to compare.
      if (shownModel !== undefined && state.tried && text.value.trim()) classify();
      shownModel = page.model().name;
    }
    draw();
  });
  count();
  draw();
  drawTries();
  drawExamples();
}

/** Whether the model gives a number instead of labels. */
const isNumber = (result) => typeof result.label === 'number';

/** The decided labels of a result, the likeliest first. */
function decidedOf(result) {
  if (Array.isArray(result.label)) return [...result.label].sort((a, b) => (result.scores?.[b] ?? 0) - (result.scores?.[a] ?? 0));
  return result.label === null || result.label === undefined ? [] : [result.label];
}

/** The labels with their probabilities, the likeliest first. */
const ranked = (result) => Object.entries(result.scores ?? {}).sort((a, b) => b[1] - a[1]);

function verdict(label, score) {
  return el('p', { class: 'verdict' }, el('strong', {}, breakable(label)), score && el('span', { class: 'value' }, score));
}

function bar(label, score, decided, choose, chosen, explain, limit = null) {
  const fill = el('span', { class: 'fill' });
  fill.style.width = `${Math.max(0, Math.min(1, score)) * 100}%`;
  const mark = limit === null ? null : el('span', { class: 'limit' });
  if (mark) mark.style.left = `${limit * 100}%`;
  const inside = [
    el('span', { class: 'name' }, breakable(label), decided && el('span', { class: 'tick' }, el('span', { 'aria-hidden': 'true' }, ' ✓'), el('span', { class: 'unseen' }, ` (${t('try.decided')})`))),
    el('span', { class: 'track', 'aria-hidden': 'true' }, fill, mark),
    el('span', { class: 'value' }, percent(score)),
  ];
  if (!choose) return el('li', { class: decided ? 'decided' : null }, el('div', { class: 'row' }, inside));
  return el('li', { class: decided ? 'decided' : null }, el('button', { type: 'button', class: 'row', 'aria-pressed': String(chosen), title: explain, 'data-focus': `label-${label}`, on: { click: choose } }, inside));
}

/** What a sentiment is, and the word for it: the page's for the usual ones, else the model's own. */
function sentimentOf(sentiment) {
  const name = String(sentiment).trim().toLowerCase();
  const kind = Object.keys(SENTIMENTS).find((known) => SENTIMENTS[known].includes(name)) ?? 'other';
  return { kind, word: kind === 'other' ? String(sentiment) : t(`sentiment.${kind}`) };
}

/** A sentiment as a sign and a word, in the colour of what it is. */
function chip(sentiment) {
  const { kind, word } = sentimentOf(sentiment);
  const sign = { positive: '▲', negative: '▼', neutral: '●', other: '◆' }[kind];
  return el('span', { class: `chip ${kind}` }, el('span', { 'aria-hidden': 'true' }, sign), ' ', word);
}

const aspectsInWords = (aspects) => aspects.map(({ keyword, sentiment }) => `${keyword} ${sentimentOf(sentiment).word}`).join(', ');

const announcement = (result) => {
  if (result.aspects) {
    return result.aspects.length ? t('try.announce', { label: aspectsInWords(result.aspects), score: percent(result.aspects[0].score) }) : t('try.keywords.none');
  }
  if (isNumber(result)) return t('try.announce', { label: t('try.value'), score: number(result.label, 3) });
  const decided = decidedOf(result);
  return decided.length ? t('try.announce', { label: decided.join(', '), score: percent(result.scores?.[decided[0]] ?? result.score) }) : t('try.announce.none');
};
