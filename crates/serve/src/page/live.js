// The section that shows what the server does now: figures and curves of its last two minutes, asked for only while somebody looks.

import { call } from './api.js';
import { byId, el, replace, svg } from './dom.js';
import { duration, milliseconds, number, t } from './language.js';

const EVERY = 2000;
/** Seconds that the curves go back. */
const SPAN = 120;

export function startLive(page) {
  const panel = byId('panel-live');
  let stats = null;
  let problem = null;
  let timer = 0;
  let asking = false;

  async function ask() {
    clearTimeout(timer);
    if (!page.isShown('live') || asking) return;
    asking = true;
    try {
      stats = await call('stats', { timeout: 10_000 });
      problem = null;
    } catch (error) {
      problem = error;
    }
    asking = false;
    draw();
    // Without a key nothing comes until one is given.
    if (problem?.status !== 401) timer = setTimeout(ask, EVERY);
  }

  function draw() {
    const open = panel.querySelector('details')?.open ?? false;
    const parts = [el('h2', {}, t('live.title')), el('p', { class: 'intro' }, t('live.intro'), ' ', t('live.paused'))];
    if (problem) parts.push(page.problem(problem, ask));
    if (stats) {
      const tile = (key, value, note, strong) => el('div', { class: strong ? 'lead' : null }, el('dt', {}, t(key)), el('dd', {}, value, note && el('small', {}, note)));
      const { p50, p90, p99 } = stats.latency_ms ?? {};
      const rate = stats.texts_per_s ?? 0;
      parts.push(el('dl', { class: 'tiles strong' },
        tile('live.rate', number(rate, rate < 10 ? 1 : 0), t('live.rate.note')),
        tile('live.p50', milliseconds(p50 ?? NaN), t('live.p50.note')), tile('live.p90', milliseconds(p90 ?? NaN), t('live.p90.note')), tile('live.p99', milliseconds(p99 ?? NaN), t('live.p99.note'))));
      parts.push(curves(stats.history ?? [], open));
      parts.push(el('dl', { class: 'tiles' },
        tile('live.in_flight', number(stats.in_flight ?? 0)), tile('live.queue', number(stats.queue_tokens ?? 0)), tile('live.requests', number(stats.requests ?? 0)), tile('live.texts', number(stats.texts ?? 0)),
        tile('live.errors', number(stats.errors ?? 0)), tile('live.rejected', number(stats.rejected ?? 0)), tile('live.uptime', duration(stats.uptime_s ?? 0))));
    }
    const focused = document.activeElement?.closest?.('#panel-live summary');
    replace(panel, parts);
    if (focused) panel.querySelector('summary')?.focus();
  }

  for (const event of ['section', 'visibilitychange', 'key']) document.addEventListener(event, ask);
  document.addEventListener('connection', ({ detail }) => detail && ask());
  document.addEventListener('language', draw);
  draw();
}

function curves(history, open) {
  const points = agesOf(history);
  if (points.length === 0 || points.every((point) => !point.texts_per_s && !point.p50)) return el('p', { class: 'nothing small' }, t('live.idle'));
  const last = points.slice(-30).reverse();
  return [
    el('div', { class: 'curves' },
      chart({ name: t('live.rate'), points, lines: [{ key: 'texts_per_s', kind: 's0', area: true, words: null }], say: (value) => number(value, value < 10 ? 1 : 0) }),
      chart({ name: t('live.latency'), points, lines: [{ key: 'p50', kind: 's0', words: t('live.half') }, { key: 'p99', kind: 's1 dashed', words: t('live.slow') }], say: milliseconds })),
    el('details', { open }, el('summary', {}, t('live.table')), el('div', { class: 'table tall', tabindex: '0', role: 'group', 'aria-label': t('live.table') }, el('table', {},
      el('thead', {}, el('tr', {}, ['live.ago', 'live.rate', 'live.half', 'live.slow'].map((key) => el('th', { scope: 'col', class: 'number' }, t(key))))),
      el('tbody', {}, last.map((point) => el('tr', {}, [number(point.age), number(point.texts_per_s ?? 0, 1), milliseconds(point.p50 ?? NaN), milliseconds(point.p99 ?? NaN)].map((cell) => el('td', { class: 'number' }, cell)))))))),
  ];
}

/** The points with how many seconds ago they were: by the last one's time, or by their place where there are no times. */
function agesOf(history) {
  const now = history.at(-1)?.t;
  return history.map((point, index) => ({ ...point, age: Math.round(Number.isFinite(now) ? now - point.t : history.length - 1 - index) })).filter(({ age }) => age >= 0 && age <= SPAN);
}

const WIDTH = 600;
const HEIGHT = 120;

/** A small curve: the height is the largest value, the width two minutes. */
function chart({ name, points, lines, say }) {
  const values = lines.flatMap(({ key }) => points.map((point) => point[key]).filter(Number.isFinite));
  const most = Math.max(...values, 0);
  const top = niceTop(most);
  const x = (age) => WIDTH - (age / SPAN) * WIDTH;
  const y = (value) => HEIGHT - (value / top) * (HEIGHT - 4);
  const drawing = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': t('live.summary', { name, now: say(points.at(-1)?.[lines[0].key] ?? NaN), most: say(most) }) });
  for (const share of [0, 0.5, 1]) drawing.append(svg('line', { class: 'grid', x1: 0, x2: WIDTH, y1: y(top * share), y2: y(top * share) }));
  for (const { key, kind, area } of lines) {
    // A second without a request has no latency: the line is cut there.
    for (const run of runs(points, key)) {
      const path = run.map((point, index) => `${index ? 'L' : 'M'}${x(point.age).toFixed(1)} ${y(point[key]).toFixed(1)}`).join('');
      if (area) drawing.append(svg('path', { class: `band ${kind}`, d: `${path}L${x(run.at(-1).age).toFixed(1)} ${HEIGHT}L${x(run[0].age).toFixed(1)} ${HEIGHT}Z` }));
      drawing.append(svg('path', { class: `stroke ${kind}`, d: run.length > 1 ? path : `${path}m-4 0h4` }));
    }
  }
  return el('figure', {}, el('figcaption', {}, name, el('ul', { class: 'key' }, lines.filter(({ words }) => words).map(({ kind, words }) => el('li', {}, el('span', { class: `dash ${kind}`, 'aria-hidden': 'true' }), words)))),
    el('div', { class: 'plot' }, el('span', { class: 'peak', 'aria-hidden': 'true' }, say(top)), drawing), el('p', { class: 'axis', 'aria-hidden': 'true' }, el('span', {}, t('live.back', { n: SPAN })), el('span', {}, t('live.now'))));
}

function runs(points, key) {
  const found = [];
  let run = [];
  for (const point of points) {
    if (Number.isFinite(point[key])) run.push(point);
    else if (run.length) {
      found.push(run);
      run = [];
    }
  }
  if (run.length) found.push(run);
  return found;
}

/** A round number that is at least `most`. */
function niceTop(most) {
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((value) => value >= most);
}
