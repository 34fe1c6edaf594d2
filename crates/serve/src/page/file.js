// The section where a file is scored: read, look, choose the column, score with progress, look at the results, download.

import { call, inWords, wellFormed } from './api.js';
import { breakable, byId, el, replace } from './dom.js';
import { exportPieces, labelsOf } from './export.js';
import { duration, number, percent, size, t } from './language.js';
import { DELIMITERS, FileError, breathe, guessTextColumn, readTable } from './rows.js';
import { scoreRows } from './score.js';
import { virtualTable } from './virtual.js';

/** More than this, a browser should not hold. */
const MOST_BYTES = 400 * 1024 ** 2;
const MOST_ROWS = 500_000;
const PREVIEW = 5;
const FEW_LABELS = 12;
const ENCODINGS = ['utf-8', 'euc-kr', 'utf-16le', 'utf-16be', 'windows-1252', 'shift_jis', 'gb18030'];
const DELIMITER_NAMES = { ',': 'comma', '\t': 'tab', ';': 'semicolon', '|': 'bar', '': 'none' };

export function startFile(page) {
  const panel = byId('panel-file');
  const state = { step: 'choose', source: null, choices: {}, table: null, text: 0, pair: -1, keepScores: null, results: [], run: null, problem: null, several: false,
    filter: null, order: 'file', mark: true, allLabels: false, model: null };
  let reading = null;

  // Choosing and reading.

  async function read(source, choices = {}) {
    reading?.abort();
    reading = new AbortController();
    const { signal } = reading;
    Object.assign(state, { source, choices, problem: null, step: 'reading', bytes: 0 });
    draw();
    let drawn = 0;
    try {
      const table = await readTable(source, choices, {
        signal,
        limit: MOST_BYTES,
        nameless: (n) => t('file.column', { n }),
        onProgress(bytes) {
          if (performance.now() - drawn < 200) return;
          drawn = performance.now();
          const line = panel.querySelector('.reading');
          if (line) line.textContent = t('file.reading', { name: source.name, size: size(bytes) });
        },
      });
      if (signal.aborted) return;
      if (table.rows.length === 0) throw new FileError('file.empty');
      if (table.rows.length > MOST_ROWS) throw new FileError('file.many', { n: MOST_ROWS });
      const text = guessTextColumn(table.columns, table.rows);
      const kept = state.table && state.table.columns.join('\n') === table.columns.join('\n');
      Object.assign(state, { table, results: [], step: 'columns', text: kept ? state.text : text, pair: kept ? state.pair : -1, keepScores: null });
    } catch (error) {
      if (signal.aborted) return;
      Object.assign(state, { table: null, step: 'choose', problem: fileProblem(error) });
    }
    draw();
    panel.querySelector(state.problem ? '#file-choose' : '#file-score')?.focus();
  }

  function fileProblem(error) {
    if (!(error instanceof FileError)) return t('file.unreadable', { reason: error.message });
    const values = { ...error.values };
    if (values.limit) values.size = size(values.limit);
    return t(error.key === 'file.encoding' ? 'file.encoding.failed' : error.key, values);
  }

  const takeFiles = (files) => {
    if (!files.length) return;
    state.several = files.length > 1;
    const file = files[0];
    state.table = null;
    const choices = {};
    // The name decides where the first lines could be several things.
    if (/\.(jsonl|ndjson)(\.gz)?$/iu.test(file.name)) choices.jsonl = true;
    if (/\.tsv(\.gz)?$/iu.test(file.name)) choices.delimiter = '\t';
    read({ name: file.name, size: file.size, stream: () => file.stream() }, choices);
  };

  // Scoring.

  /** Where the texts of a row stand. */
  const inputOf = (index) => {
    const row = state.table.rows[index];
    const text = wellFormed(row[state.text] ?? '');
    if (text.trim() === '') return null;
    return state.pair < 0 ? text : { text, text_pair: wellFormed(row[state.pair] ?? '') };
  };

  /** Scores of all labels are kept where they are few; of 77 for each of 100,000 rows a browser would hold hundreds of megabytes. */
  const keepsScores = () => state.keepScores ?? (page.model()?.labels?.length ?? 0) <= 10;

  async function score() {
    const { table } = state;
    const run = { stop: new AbortController(), began: performance.now(), done: 0, wait: null, tally: state.run?.tally ?? newTally(), before: state.run?.seconds ?? 0 };
    const todo = [];
    for (let index = 0; index < table.rows.length; index += 1) if (state.results[index] === undefined) todo.push(index);
    run.start = table.rows.length - todo.length;
    run.all = table.rows.length;
    state.run = run;
    state.model = page.model();
    state.problem = null;
    state.step = 'scoring';
    state.filter = null;
    draw();
    panel.querySelector('#file-cancel')?.focus();
    const timer = setInterval(drawProgress, 250);
    const chain = state.model?.kind === 'chain';
    const all = keepsScores();
    try {
      await scoreRows({
        count: todo.length,
        input: (index) => inputOf(todo[index]),
        send: async (inputs, signal) => {
          const answer = await call('classify', { body: { inputs, model: state.model?.name, top_k: all || chain ? undefined : 1 }, signal });
          return answer.results;
        },
        keep(index, result) {
          const kept = result && !result.error ? slim(result, all) : result;
          state.results[todo[index]] = kept;
          addToTally(run.tally, kept);
          run.done += 1;
        },
        describe: (error) => error.detail ?? inWords(error).text,
        notice(what) {
          run.wait = what && { until: performance.now() + what.wait * 1000, offline: what.reason.status === undefined };
          drawProgress();
        },
        signal: run.stop.signal,
      });
      state.step = 'results';
      page.announce(t('file.announce', { rows: t('file.rows', { n: run.tally.scored }) }));
    } catch (error) {
      state.step = 'results';
      run.stopped = true;
      state.problem = run.stop.signal.aborted ? null : error;
    } finally {
      clearInterval(timer);
      run.seconds = run.before + (performance.now() - run.began) / 1000;
    }
    draw();
    panel.querySelector('#file-results')?.focus();
  }

  const newTally = () => ({ scored: 0, empty: 0, failed: 0, abstained: 0, truncated: 0, labels: new Map(), sum: 0, values: 0 });

  function addToTally(tally, result) {
    if (result === null) tally.empty += 1;
    else if (result.error) tally.failed += 1;
    else {
      tally.scored += 1;
      if (result.abstained) tally.abstained += 1;
      if (result.truncated) tally.truncated += 1;
      if (typeof result.label === 'number') {
        tally.values += 1;
        tally.sum += result.label;
        return;
      }
      const labels = labelsOf(result);
      for (const label of labels.length ? labels : [null]) tally.labels.set(label, (tally.labels.get(label) ?? 0) + 1);
    }
  }

  /** What is kept of a result. */
  function slim({ label, score: value, scores, abstained, truncated, aspects }, all) {
    const kept = aspects ? { aspects: aspects.map(({ keyword, probability, sentiment, score: sure }) => ({ keyword, probability, sentiment, score: sure })) } : { label, score: value };
    if (all && scores && !aspects) kept.scores = scores;
    if (abstained) kept.abstained = true;
    if (truncated) kept.truncated = true;
    return kept;
  }

  // Drawing.

  function draw() {
    const parts = [el('h2', { id: 'file-title' }, t('file.title'))];
    if (state.step === 'choose' || state.step === 'reading') parts.push(el('p', { class: 'intro' }, t('file.intro')));
    if (state.problem) parts.push(typeof state.problem === 'string' ? el('p', { class: 'notice problem', role: 'alert' }, ticks(state.problem)) : page.problem(state.problem, score));
    if (state.step === 'choose') parts.push(drawChoose());
    if (state.step === 'reading') parts.push(el('div', { class: 'card' }, el('p', { class: 'reading', role: 'status' }, t('file.reading', { name: state.source.name, size: size(0) })), el('progress', { 'aria-label': state.source.name })));
    if (state.step === 'columns') parts.push(drawColumns());
    if (state.step === 'scoring') parts.push(drawScoring());
    if (state.step === 'results') parts.push(drawResults());
    replace(panel, parts);
    if (state.step === 'scoring') drawProgress();
  }

  function drawChoose() {
    const input = el('input', { type: 'file', id: 'file-input', class: 'unseen', tabindex: '-1', 'aria-hidden': 'true', accept: '.csv,.tsv,.txt,.jsonl,.ndjson,.gz,text/*,application/json', on: { change: () => takeFiles(input.files) } });
    const area = el('textarea', { id: 'file-paste', rows: '5', spellcheck: 'false', placeholder: t('file.paste.placeholder') });
    const paste = () => {
      if (area.value.trim()) {
        state.table = null;
        state.several = false;
        read({ name: t('file.paste.name'), size: area.value.length, text: area.value });
      }
    };
    area.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) paste();
    });
    return el('div', { class: 'choose' },
      el('div', { class: 'drop' }, el('p', { class: 'drop-title wide-only' }, t('file.drop')), el('button', { type: 'button', class: 'main', id: 'file-choose', on: { click: () => input.click() } }, t('file.choose')), input,
        el('p', { class: 'hint' }, t('file.kinds'))),
      el('div', { class: 'paste' }, el('label', { class: 'above', for: 'file-paste' }, t('file.paste')), area, el('p', { class: 'buttons' }, el('button', { type: 'button', on: { click: paste } }, t('file.paste.read')))));
  }

  function drawAbout() {
    const { table, source } = state;
    return el('p', { class: 'about' }, el('strong', {}, source.name), ` · ${t('file.rows', { n: table.rows.length })} · ${t('file.columns', { n: table.columns.length })}${table.encoding ? ` · ${encodingName(table)}` : ''}`);
  }

  function drawNotices() {
    const { table } = state;
    const notices = [
      state.several && t('file.several'),
      table.uneven > 0 && t('file.uneven', { n: table.uneven }),
      table.bad > 0 && t('file.bad', { n: table.bad, line: table.firstBad }),
      table.unquoted > 0 && t('file.unquoted', { line: table.unquoted }),
    ].filter(Boolean);
    return notices.map((notice) => el('p', { class: 'notice warning' }, notice));
  }

  function drawColumns() {
    const { table } = state;
    const column = (id, key, chosen, none, choose) => el('label', { class: 'choice tall' }, el('span', {}, t(key)), el('select', { id, on: { change: (event) => {
      choose(Number(event.target.value));
      draw();
      byId(id)?.focus();
    } } }, none && el('option', { value: '-1', selected: chosen < 0 }, t('file.pair.none')), table.columns.map((name, index) => el('option', { value: String(index), selected: index === chosen }, name))));
    const how = (id, key, options, chosen, change) => el('label', { class: 'choice tall' }, el('span', {}, t(key)), el('select', { id, on: { change: (event) => change(event.target.value) } },
      options.map(([value, name]) => el('option', { value, selected: value === chosen }, name))));
    const again = (change) => read(state.source, { ...state.choices, ...change });
    const delimiters = [...['', ...DELIMITERS].map((mark) => [mark, t(`file.delimiter.${DELIMITER_NAMES[mark]}`)]), ['jsonl', t('file.delimiter.jsonl')]];
    const encodings = ENCODINGS.includes(table.encoding) ? ENCODINGS : [table.encoding, ...ENCODINGS];
    const keep = el('input', { type: 'checkbox', id: 'file-keep', checked: keepsScores(), on: { change: (event) => {
      state.keepScores = event.target.checked;
    } } });
    const many = page.model()?.kind !== 'chain' && page.model()?.task !== 'regression';
    const open = panel.querySelector('#file-how')?.open ?? false;
    const n = table.rows.length;
    return el('div', { class: 'card' },
      drawAbout(), drawNotices(),
      el('div', { class: 'choices' }, column('file-text', 'file.text', state.text, false, (index) => {
        state.text = index;
      }), column('file-pair', 'file.pair', state.pair, true, (index) => {
        state.pair = index;
      })),
      drawPreview(),
      el('details', { id: 'file-how', open }, el('summary', {}, t('file.how')), el('div', { class: 'choices' },
        table.encoding && how('file-encoding', 'file.encoding', encodings.map((name) => [name, encodingName({ encoding: name })]), table.encoding, (encoding) => again({ encoding })),
        how('file-delimiter', 'file.delimiter', delimiters, table.jsonl ? 'jsonl' : table.delimiter, (value) => again(value === 'jsonl' ? { jsonl: true, delimiter: undefined, header: undefined } : { jsonl: false, delimiter: value, header: undefined })),
        !table.jsonl && el('label', { class: 'check' }, el('input', { type: 'checkbox', id: 'file-header', checked: table.header, on: { change: (event) => again({ header: event.target.checked, delimiter: table.delimiter, jsonl: false }) } }), t('file.header')))),
      many && el('label', { class: 'check' }, keep, t('file.scores')),
      el('p', { class: 'buttons' }, el('button', { type: 'button', class: 'main', id: 'file-score', disabled: !page.model(), on: { click: score } }, t('file.score', { n })), otherFile()));
  }

  const otherFile = () => el('button', { type: 'button', on: { click: () => {
    reading?.abort();
    Object.assign(state, { step: 'choose', table: null, results: [], run: null, problem: null });
    draw();
    byId('file-choose').focus();
  } } }, t('file.other'));

  function drawPreview() {
    const { table } = state;
    const rows = table.rows.slice(0, PREVIEW);
    const kind = (index) => (index === state.text ? 'long text-column' : index === state.pair ? 'long text-column second' : null);
    return el('div', { class: 'table', tabindex: '0', role: 'group', 'aria-label': t('file.preview', { n: rows.length }) }, el('table', { class: 'preview' }, el('caption', {}, el('span', {}, t('file.preview', { n: rows.length }))),
      el('thead', {}, el('tr', {}, table.columns.slice(0, 60).map((name, index) => el('th', { scope: 'col', class: kind(index) }, name)))),
      el('tbody', {}, rows.map((row) => el('tr', {}, row.slice(0, 60).map((cell, index) => el('td', { class: kind(index), dir: 'auto' }, short(cell))))))));
  }

  function drawScoring() {
    return el('div', { class: 'card' }, drawAbout(),
      el('progress', { id: 'file-progress', max: String(state.run.all), 'aria-label': t('file.title') }),
      el('p', { class: 'progress-text' }, el('span', { id: 'file-done' }), el('span', { id: 'file-speed', class: 'hint' })),
      el('p', { class: 'notice warning', id: 'file-wait', role: 'status', hidden: true }),
      el('p', { class: 'buttons' }, el('button', { type: 'button', id: 'file-cancel', on: { click: stop } }, t('file.cancel'))),
      el('div', { id: 'file-sofar' }));
  }

  const stop = () => state.run?.stop.abort(new DOMException('stopped', 'AbortError'));

  function drawProgress() {
    const { run } = state;
    const bar = byId('file-progress');
    if (!bar || !run || state.step !== 'scoring') return;
    const done = run.start + run.done;
    bar.value = done;
    byId('file-done').textContent = t('file.progress', { done, all: t('file.rows', { n: run.all }) });
    const seconds = (performance.now() - run.began) / 1000;
    const rate = run.done / Math.max(seconds, 0.001);
    const parts = seconds > 0.7 && run.done ? [t('file.rate', { n: number(rate, rate < 10 ? 1 : 0) }), t('file.left', { time: duration((run.all - done) / rate) })] : [];
    byId('file-speed').textContent = parts.join(' · ');
    const wait = byId('file-wait');
    wait.hidden = !run.wait;
    if (run.wait) {
      const said = t(run.wait.offline ? 'file.wait.offline' : 'file.wait.busy', { n: Math.max(1, Math.ceil((run.wait.until - performance.now()) / 1000)) });
      if (wait.textContent !== said) wait.textContent = said;
    }
    if (run.done && (!run.drawn || performance.now() - run.drawn > 1000)) {
      run.drawn = performance.now();
      replace(byId('file-sofar'), drawSummary(run.tally, false));
    }
  }

  function drawSummary(tally, buttons) {
    const parts = [];
    if (tally.values) parts.push(el('p', {}, t('file.mean', { n: number(tally.sum / tally.values, 3) })));
    const entries = [...tally.labels].sort((a, b) => b[1] - a[1]);
    if (entries.length) {
      const shown = state.allLabels && buttons ? entries : entries.slice(0, FEW_LABELS);
      parts.push(el('h3', {}, t('file.labels')));
      parts.push(el('ol', { class: 'bars counts' }, shown.map(([label, count]) => {
        const name = label ?? t('file.labels.none');
        const fill = el('span', { class: 'fill' });
        fill.style.width = `${(count / entries[0][1]) * 100}%`;
        const inside = [el('span', { class: label === null ? 'name none' : 'name' }, breakable(name)), el('span', { class: 'track', 'aria-hidden': 'true' }, fill),
          el('span', { class: 'value' }, number(count), el('small', {}, percent(count / tally.scored)))];
        const chosen = state.filter !== null && state.filter.label === label;
        return el('li', {}, buttons ? el('button', { type: 'button', class: 'row', 'aria-pressed': String(chosen), title: t('file.filter', { label: name }), on: { click: () => {
          state.filter = chosen ? null : { label };
          drawRest();
        } } }, inside) : el('div', { class: 'row' }, inside));
      })));
      if (buttons && entries.length > FEW_LABELS) {
        parts.push(el('button', { type: 'button', class: 'plain', 'aria-expanded': String(state.allLabels), on: { click: () => {
          state.allLabels = !state.allLabels;
          drawRest();
        } } }, state.allLabels ? t('try.less') : t('file.labels.more', { n: entries.length })));
      }
    }
    return parts;
  }

  function drawResults() {
    const { run, table } = state;
    const { tally } = run;
    const left = table.rows.length - run.start - run.done;
    const tile = (key, value, bad) => (value > 0 || key === 'file.scored') && el('div', { class: bad ? 'bad' : null }, el('dt', {}, t(key)), el('dd', {}, number(value)));
    const mark = el('input', { type: 'checkbox', id: 'file-mark', checked: state.mark, on: { change: (event) => {
      state.mark = event.target.checked;
    } } });
    return [el('div', { class: 'card' }, drawAbout(),
      run.stopped && !state.problem ? el('p', { class: 'notice warning' }, t('file.stopped')) : null,
      el('h3', { id: 'file-results', tabindex: '-1' }, t('file.results'), ' ', el('small', {}, `${state.model?.name ?? ''} · ${t('file.done', { time: duration(run.seconds) })}`)),
      el('dl', { class: 'tiles' }, tile('file.scored', tally.scored), tile('file.without', tally.empty), tile('file.failed', tally.failed, true), tile('file.unsure', tally.abstained), tile('file.cut', tally.truncated)),
      el('p', { class: 'buttons' },
        el('button', { type: 'button', class: 'main', on: { click: (event) => download('csv', event.currentTarget) } }, t('file.download.csv')),
        el('button', { type: 'button', on: { click: (event) => download('jsonl', event.currentTarget) } }, t('file.download.jsonl')),
        left > 0 && el('button', { type: 'button', on: { click: score } }, t('file.resume', { n: left })),
        el('button', { type: 'button', on: { click: () => {
          Object.assign(state, { step: 'columns', results: [], run: null, problem: null });
          draw();
          byId('file-text').focus();
        } } }, t('file.leave')), otherFile()),
      el('label', { class: 'check' }, mark, t('file.mark')),
      el('p', { class: 'hint' }, t('file.safe'))),
    el('div', { id: 'file-rest' }, drawRestParts())];
  }

  function drawRest() {
    const focused = document.activeElement?.closest?.('#file-rest');
    const names = focused ? [...panel.querySelectorAll('#file-rest button, #file-rest select')].indexOf(document.activeElement) : -1;
    replace(byId('file-rest'), drawRestParts());
    if (names >= 0) panel.querySelectorAll('#file-rest button, #file-rest select')[names]?.focus();
  }

  /** The rows that are shown, in the order that is asked for. */
  function shownRows() {
    const rows = [];
    state.results.forEach((result, index) => {
      if (result === undefined) return;
      if (state.filter) {
        if (!result || result.error) return;
        const labels = labelsOf(result);
        if (state.filter.label === null ? labels.length : !labels.includes(state.filter.label)) return;
      }
      rows.push(index);
    });
    if (state.order === 'file') return rows;
    const sure = (index) => {
      const result = state.results[index];
      if (!result || result.error) return state.order === 'unsure' ? -1 : -2;
      if (result.aspects) return result.aspects.length ? Math.min(...result.aspects.map(({ score: value }) => value ?? 0)) : 0;
      return result.score ?? (typeof result.label === 'number' ? result.label : 0);
    };
    const keys = new Map(rows.map((index) => [index, sure(index)]));
    const sign = state.order === 'sure' ? -1 : 1;
    return rows.sort((a, b) => sign * (keys.get(a) - keys.get(b)) || a - b);
  }

  function drawRestParts() {
    const { run, table } = state;
    const rows = shownRows();
    const orders = ['file', 'unsure', 'sure'];
    return [
      el('section', { class: 'summary' }, drawSummary(run.tally, true)),
      el('section', { class: 'rows' },
        el('div', { class: 'rows-head' }, el('h3', {}, t('file.table'), ' ', el('small', {}, t('file.shown', { n: rows.length }))),
          state.filter && el('button', { type: 'button', class: 'plain', on: { click: () => {
            state.filter = null;
            drawRest();
          } } }, t('file.filter.all')),
          el('label', { class: 'choice' }, el('span', {}, t('file.order')), el('select', { id: 'file-order', on: { change: (event) => {
            state.order = event.target.value;
            drawRest();
          } } }, orders.map((order) => el('option', { value: order, selected: order === state.order }, t(`file.order.${order}`)))))),
        virtualTable({
          name: t('file.table'),
          columns: [t('file.row'), t('try.text'), t('file.label'), t('file.share')],
          count: rows.length,
          cells(place) {
            const index = rows[place];
            const row = table.rows[index];
            const result = state.results[index];
            const text = row[state.text] ?? '';
            const label = !result ? el('span', { class: 'none' }, t('file.row.empty')) : result.error ? el('span', { class: 'none' }, t('file.row.failed', { reason: result.error }))
              : labelsOf(result).join(', ') || el('span', { class: 'none' }, t(result.abstained ? 'file.unsure' : 'file.labels.none'));
            const value = result && Number.isFinite(result.score) && typeof result.label !== 'number' ? percent(result.score) : '';
            return [number(index + 1), el('button', { type: 'button', class: 'plain cell-text', 'aria-label': `${t('file.try', { n: index + 1 })}: ${short(text, 80)}`, disabled: text.trim() === '', on: { click: () => {
              page.show('try', { focus: true });
              page.take(text, state.pair < 0 ? '' : row[state.pair] ?? '');
            } } }, short(text)), label, value];
          },
        })),
    ];
  }

  async function download(kind, button) {
    const words = button.textContent;
    button.disabled = true;
    button.textContent = t('file.preparing');
    const parts = [];
    for (const piece of exportPieces(state.table, state.results, { kind, mark: state.mark })) {
      parts.push(piece);
      await breathe();
    }
    const blob = new Blob(parts, { type: kind === 'csv' ? 'text/csv;charset=utf-8' : 'application/x-ndjson' });
    const stem = state.source.name.replace(/(\.(csv|tsv|txt|jsonl|ndjson))?(\.gz)?$/iu, '').replace(/[^\p{L}\p{N}._ -]/gu, '_') || 'rows';
    const link = el('a', { href: URL.createObjectURL(blob), download: `${stem}.scored.${kind}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    button.disabled = false;
    button.textContent = words;
  }

  // A file may be dropped anywhere in this section.

  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
  const free = () => state.step !== 'scoring' && page.isShown('file');
  let depth = 0;
  document.addEventListener('dragenter', (event) => {
    if (!carries(event) || !free()) return;
    depth += 1;
    panel.classList.add('dropping');
  });
  document.addEventListener('dragleave', (event) => {
    if (!carries(event)) return;
    depth = Math.max(0, depth - 1);
    if (depth === 0) panel.classList.remove('dropping');
  });
  document.addEventListener('dragover', (event) => {
    // Elsewhere too: a browser would leave the page and show the file.
    if (carries(event)) event.preventDefault();
  });
  document.addEventListener('drop', (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    depth = 0;
    panel.classList.remove('dropping');
    if (free()) takeFiles(event.dataTransfer.files);
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && state.step === 'scoring' && page.isShown('file') && !document.querySelector('dialog[open]')) stop();
  });
  addEventListener('beforeunload', (event) => {
    if (state.step === 'scoring') event.preventDefault();
  });
  document.addEventListener('language', () => {
    if (state.step !== 'reading') draw();
  });
  document.addEventListener('model', () => {
    if (state.step === 'columns') draw();
  });
  draw();
}

const encodingName = ({ encoding, mark }) => `${{ 'utf-8': 'UTF-8', 'euc-kr': 'EUC-KR (CP949)', 'utf-16le': 'UTF-16 LE', 'utf-16be': 'UTF-16 BE', 'windows-1252': 'Windows-1252', shift_jis: 'Shift JIS', gb18030: 'GB18030' }[encoding] ?? encoding}${mark ? ' (BOM)' : ''}`;

/** The beginning of a long text: the whole would make the page slow. */
const short = (text, most = 300) => {
  const flat = text.replace(/\s+/gu, ' ');
  return flat.length > most ? `${Array.from(flat.slice(0, most * 2)).slice(0, most).join('')}…` : flat;
};

/** Words between backquotes as code. */
const ticks = (text) => text.split('`').map((part, index) => (index % 2 ? el('code', {}, part) : part));
