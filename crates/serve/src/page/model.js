// The section about the model: what it decides, how good it is, its card and its report.

import { hasKey, request } from './api.js';
import { breakable, byId, el, replace } from './dom.js';
import { figure, fourDigits, has, moment, number, percent, t } from './language.js';
import { render } from './markdown.js';

/** What stands first, the best known first; whatever else a run has measured follows in the table. */
const FIRST = ['accuracy', 'macro_f1', 'micro_f1', 'weighted_f1', 'samples_f1', 'balanced_accuracy', 'matthews_corrcoef', 'top_3_accuracy', 'top_5_accuracy', 'roc_auc', 'average_precision',
  'pearson', 'spearman', 'mean_absolute_error', 'root_mean_squared_error', 'r2', 'ece', 'log_loss', 'brier_score_loss', 'hamming_loss', 'loss'];
const TILES = ['accuracy', 'macro_f1', 'micro_f1', 'roc_auc', 'pearson', 'spearman', 'mean_absolute_error'];
const SHARES = new Set(['accuracy', 'balanced_accuracy', 'top_3_accuracy', 'top_5_accuracy']);
const FEW = 30;

export function startModel(page) {
  const panel = byId('panel-model');
  let sort = { by: 'support', down: true };
  let shownReport = false;

  function draw() {
    const model = page.model();
    if (!model) {
      const error = page.modelsError();
      replace(panel, el('h2', {}, t('model.title')), error ? page.problem(error, () => page.loadModels()) : el('p', { class: 'notice warning' }, t('model.none')));
      return;
    }
    replace(panel, el('h2', {}, breakable(model.name)), about(model), figures(model), byLabel(model), all(model), names(model), report(model), card(model));
  }

  function about(model) {
    const tile = (key, value) => value !== null && value !== undefined && value !== '' && el('div', {}, el('dt', {}, t(key)), el('dd', {}, value));
    const task = model.kind === 'chain' ? 'chain' : model.task;
    return el('dl', { class: 'tiles' },
      tile('model.task', has(`task.${task}`) ? t(`task.${task}`) : task),
      tile('model.labels', model.labels?.length ? number(model.labels.length) : null),
      tile('model.length', Number.isFinite(model.max_length) ? t('try.tokens', { n: model.max_length }) : null),
      tile('model.precision', model.precision),
      tile('model.loaded', model.loaded_at ? when(model.loaded_at) : null));
  }

  function figures(model) {
    const parts = partsOf(model.metrics);
    if (parts.length === 0) return el('p', { class: 'hint' }, t('model.no.metrics'));
    const [, best] = parts.at(-1);
    const tiles = TILES.filter((key) => Number.isFinite(best[key])).slice(0, 4);
    const findings = Array.isArray(model.metrics?.diagnosis?.findings) ? model.metrics.diagnosis.findings : [];
    return el('section', {}, el('h3', {}, t('model.figures')),
      el('dl', { class: 'tiles strong' }, tiles.map((key) => el('div', {}, el('dt', {}, nameOf(key)), el('dd', {}, say(key, best[key]), el('small', {}, partName(parts.at(-1)[0])))))),
      findings.length > 0 && el('div', {}, el('h4', {}, t('model.diagnosis')), el('ul', { class: 'findings' }, findings.map((finding) => el('li', {}, typeof finding === 'string' ? finding : finding.text ?? finding.message ?? JSON.stringify(finding))))));
  }

  function all(model) {
    const parts = partsOf(model.metrics);
    const keys = keysOf(parts);
    if (keys.length === 0) return null;
    return el('details', { open: keys.length <= 8 }, el('summary', {}, t('model.figures.all')),
      el('div', { class: 'table' }, el('table', {},
        el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, t('model.figure')), parts.map(([part, values]) => el('th', { scope: 'col', class: 'number' }, partName(part), Number.isFinite(values.examples) && el('small', {}, t('model.rows', { n: values.examples })))))),
        el('tbody', {}, keys.map((key) => el('tr', {}, el('th', { scope: 'row' }, nameOf(key)), parts.map(([, values]) => el('td', { class: 'number' }, say(key, values[key])))))))));
  }

  function byLabel(model) {
    const parts = partsOf(model.metrics).filter(([, values]) => values.classification_report);
    if (parts.length === 0) return null;
    const [part, { classification_report: reported }] = parts.at(-1);
    const averages = ['accuracy', 'macro avg', 'micro avg', 'weighted avg', 'samples avg'];
    const known = new Set(model.labels ?? []);
    const rows = Object.entries(reported).filter(([label, values]) => values && typeof values === 'object' && (known.has(label) || !averages.includes(label)));
    if (rows.length === 0) return null;
    const columns = [['label', 'model.label'], ['precision', 'model.precision.of'], ['recall', 'model.recall'], ['f1-score', 'model.f1'], ['support', 'model.support']];
    const value = ([label, values]) => (sort.by === 'label' ? label : values[sort.by] ?? -1);
    rows.sort((a, b) => (sort.by === 'label' ? String(value(a)).localeCompare(String(value(b))) : value(a) - value(b)) * (sort.down ? -1 : 1));
    const open = panel.querySelector('#by-label')?.open ?? true;
    return el('details', { id: 'by-label', open }, el('summary', {}, `${t('model.bylabel')} (${partName(part)})`),
      el('p', { class: 'hint' }, t('model.sort')),
      el('div', { class: 'table tall', tabindex: '0', role: 'group', 'aria-label': t('model.bylabel') }, el('table', { class: 'sortable' },
        el('thead', {}, el('tr', {}, columns.map(([key, words]) => el('th', { scope: 'col', class: key === 'label' ? null : 'number', 'aria-sort': sort.by === key ? (sort.down ? 'descending' : 'ascending') : null },
          el('button', { type: 'button', class: 'plain', 'data-key': key, on: { click: () => {
            sort = { by: key, down: sort.by === key ? !sort.down : key !== 'label' };
            draw();
            panel.querySelector(`#by-label [data-key="${key}"]`)?.focus();
          } } }, t(words), el('span', { class: 'arrow', 'aria-hidden': 'true' }, sort.by === key ? (sort.down ? ' ▾' : ' ▴') : '')))))),
        el('tbody', {}, rows.map(([label, values]) => el('tr', {}, el('th', { scope: 'row' }, breakable(label)),
          ['precision', 'recall', 'f1-score'].map((key) => el('td', { class: 'number' }, key === 'f1-score' && meter(values[key]), Number.isFinite(values[key]) ? fourDigits(values[key]) : '–')), el('td', { class: 'number' }, Number.isFinite(values.support) ? number(values.support) : '–')))))));
  }

  function names(model) {
    const labels = model.labels ?? [];
    if (labels.length === 0) return null;
    return el('details', { open: labels.length <= FEW && !partsOf(model.metrics).some(([, values]) => values.classification_report) }, el('summary', {}, t('model.names')),
      el('ul', { class: 'names' }, labels.map((label) => el('li', {}, breakable(label)))));
  }

  function report(model) {
    if (!model.has_report) return null;
    const address = `models/${encodeURIComponent(model.name)}/report`;
    const theme = document.documentElement.dataset.theme;
    const themed = theme ? `${address}?theme=${theme}` : address;
    // A frame and a link carry no key, so with one the report is fetched and saved.
    if (hasKey()) {
      const button = el('button', { type: 'button', on: { click: async () => {
        try {
          const blob = await (await request(address)).blob();
          const link = el('a', { href: URL.createObjectURL(blob), download: `${model.name}.report.html` });
          link.click();
          setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
        } catch (error) {
          button.after(page.problem(error));
        }
      } } }, t('model.report.save'));
      return el('section', {}, el('h3', {}, t('model.report')), el('p', {}, button));
    }
    const holder = el('div', { class: 'report' });
    const fill = () => replace(holder, el('iframe', { src: themed, title: t('model.report'), sandbox: 'allow-scripts', loading: 'lazy', referrerpolicy: 'no-referrer' }));
    if (shownReport) fill();
    const details = el('details', { open: shownReport, on: { toggle: () => {
      shownReport = details.open;
      if (details.open && !holder.firstChild) fill();
    } } }, el('summary', {}, t('model.report')), el('p', {}, el('a', { href: themed, target: '_blank', rel: 'noopener' }, t('model.report.open'))), holder);
    return details;
  }

  function card(model) {
    if (!model.card) return null;
    const section = el('section', { class: 'model-card' }, render(model.card, 3));
    for (const table of section.querySelectorAll('.table')) table.setAttribute('aria-label', t('model.table'));
    return el('details', { open: !matchMedia('(max-width: 640px)').matches }, el('summary', {}, t('model.card')), section);
  }

  for (const event of ['language', 'model', 'key', 'theme']) document.addEventListener(event, draw);
  draw();
}

/** A figure as it is written: a share in percent. */
const say = (key, value) => (!Number.isFinite(value) ? '–' : SHARES.has(key) ? percent(value) : figure(value));

/** A share as a small bar. */
function meter(value) {
  const fill = el('span', { class: 'fill' });
  fill.style.width = `${Math.max(0, Math.min(1, value || 0)) * 100}%`;
  return el('span', { class: 'f1 wide-only', 'aria-hidden': 'true' }, fill);
}

const partName = (part) => (has(`model.${part}`) ? t(`model.${part}`) : part);

/** The names of the figures of all parts, the best known first. */
function keysOf(parts) {
  const keys = [...new Set(parts.flatMap(([, values]) => Object.keys(values).filter((key) => Number.isFinite(values[key]))))].filter((key) => key !== 'examples');
  return keys.sort((a, b) => (FIRST.includes(a) ? FIRST.indexOf(a) : 99) - (FIRST.includes(b) ? FIRST.indexOf(b) : 99));
}

const nameOf = (key) => (has(`metric.${key}`) ? t(`metric.${key}`) : key.replaceAll('_', ' '));

/** The parts of the data that figures were measured on: validation before test, then whatever else has figures. */
function partsOf(metrics) {
  if (!metrics || typeof metrics !== 'object') return [];
  const parts = Object.entries(metrics).filter(([key, values]) => key !== 'diagnosis' && values && typeof values === 'object' && !Array.isArray(values) && Object.values(values).some(Number.isFinite));
  if (parts.length === 0 && Object.values(metrics).some(Number.isFinite)) return [['test', metrics]];
  const place = (name) => ['validation', 'test'].indexOf(name);
  return parts.sort((a, b) => place(a[0]) - place(b[0]));
}

function when(value) {
  const time = typeof value === 'number' ? value * 1000 : value;
  return Number.isNaN(new Date(time).getTime()) ? String(value) : moment(time);
}
