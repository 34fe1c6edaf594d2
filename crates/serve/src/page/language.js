// The page's language: chosen by hand, else by the browser; and numbers, times and sizes in it.

import { strings } from './strings.js';

export const languages = ['ko', 'en'];
let current = 'en';

/** The language in use. */
export const language = () => current;

/** The language that was chosen before, else the first of the browser's that the page speaks, else English. */
export function preferredLanguage() {
  const kept = remembered('gareum-language');
  if (languages.includes(kept)) return kept;
  for (const wish of navigator.languages ?? [navigator.language ?? 'en']) {
    const found = languages.find((name) => wish.toLowerCase().split('-')[0] === name);
    if (found) return found;
  }
  return 'en';
}

/** Speaks `name` from now on, everywhere; who draws listens for the document's event `language`. */
export function setLanguage(name, { keep = false } = {}) {
  current = languages.includes(name) ? name : 'en';
  if (keep) remember('gareum-language', current);
  document.documentElement.lang = current;
  document.title = t('page.title');
  apply(document);
  document.dispatchEvent(new CustomEvent('language'));
}

/** Puts the words of the page into what names them by `data-t`, `data-t-label` and `data-t-placeholder`. */
export function apply(root) {
  for (const element of root.querySelectorAll('[data-t]')) element.textContent = t(element.dataset.t);
  for (const element of root.querySelectorAll('[data-t-label]')) element.setAttribute('aria-label', t(element.dataset.tLabel));
  for (const element of root.querySelectorAll('[data-t-placeholder]')) element.setAttribute('placeholder', t(element.dataset.tPlaceholder));
}

/** The words of `key`; `{name}` in them stands for `values.name`, and `n` decides between one and several. Numbers are written as the language does. */
export function t(key, values = {}) {
  const found = strings[current][key] ?? strings.en[key] ?? key;
  const text = Array.isArray(found) ? found[values.n === 1 ? 0 : 1] : found;
  return text.replace(/\{(\w+)\}/gu, (whole, name) => {
    const value = values[name];
    return value === undefined ? whole : typeof value === 'number' ? number(value) : String(value);
  });
}

/** Whether the page has words for `key`. */
export const has = (key) => key in strings.en;

const formats = new Map();
function format(options) {
  const key = current + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(current, options));
  return formats.get(key);
}

export const number = (value, digits = 0) => format({ maximumFractionDigits: digits }).format(value);

/** A probability, so that what is not certain is never written as 0 % or 100 %. */
export function percent(value) {
  if (!Number.isFinite(value)) return '–';
  const written = format({ style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1 });
  if (value > 0 && value < 0.0005) return `<${written.format(0.001)}`;
  if (value < 1 && value > 0.9995) return `>${written.format(0.999)}`;
  return written.format(value);
}

/** Four digits behind the point, as reports have them; whole numbers stay whole. */
export const figure = (value) => (Number.isInteger(value) && Math.abs(value) > 1 ? number(value) : fourDigits(value));

export const fourDigits = (value) => format({ minimumFractionDigits: 4, maximumFractionDigits: 4 }).format(value);

/** A score with its sign. */
export const signed = (value) => format({ signDisplay: 'exceptZero', minimumFractionDigits: 3, maximumFractionDigits: 3 }).format(value);

/** Milliseconds with as many digits as say something. */
export const milliseconds = (value) => (Number.isFinite(value) ? t('try.time', { n: number(value, value < 10 ? 1 : 0) }) : '–');

/** A span of time in the largest one or two units. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return t('file.seconds', { n: whole });
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return [t('file.minutes', { n: minutes }), minutes < 10 && whole % 60 ? t('file.seconds', { n: whole % 60 }) : ''].join(' ').trim();
  return [t('file.hours', { n: Math.floor(minutes / 60) }), minutes % 60 ? t('file.minutes', { n: minutes % 60 }) : ''].join(' ').trim();
}

/** Bytes in the unit that fits. */
export function size(bytes) {
  if (bytes < 1024) return `${number(bytes)} B`;
  if (bytes < 1024 ** 2) return `${number(bytes / 1024, 0)} KiB`;
  return `${number(bytes / 1024 ** 2, 1)} MiB`;
}

export const moment = (value) => new Intl.DateTimeFormat(current, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(value));

/** What is kept in the browser; some forbid it, and then a choice lasts as long as the page. */
export function remembered(key, store = 'localStorage') {
  try {
    return globalThis[store].getItem(key);
  } catch {
    return null;
  }
}

export function remember(key, value, store = 'localStorage') {
  try {
    if (value === null) globalThis[store].removeItem(key);
    else globalThis[store].setItem(key, value);
  } catch {
    // It lasts as long as the page.
  }
}
