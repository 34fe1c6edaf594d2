// A table of very many rows, of which only those in sight are in the document.

import { el } from './dom.js';

/** Rows drawn above and below what is in sight. */
const SPARE = 8;
/** Browsers do not lay out anything taller. */
const TALLEST = 15_000_000;

/** A table that scrolls. `cells(row)` gives the contents of the cells of a row, by its place from 0. */
export function virtualTable({ name, columns, count, cells }) {
  const narrow = matchMedia('(max-width: 640px)');
  const head = el('div', { role: 'rowgroup', class: 'v-head' }, el('div', { role: 'row', class: 'v-row', 'aria-rowindex': '1' }, columns.map((column) => el('span', { role: 'columnheader' }, column))));
  const body = el('div', { role: 'rowgroup', class: 'v-body' });
  const table = el('div', { role: 'table', 'aria-label': name, 'aria-rowcount': String(count + 1), 'aria-colcount': String(columns.length) }, head, body);
  const scroller = el('div', { class: 'v-scroll', tabindex: '0', role: 'group', 'aria-label': name }, table);
  let shown = '';

  function draw(force = false) {
    const height = narrow.matches ? 64 : 40;
    const total = count * height;
    // A very tall table is drawn shorter than it is: what is in sight follows from how far one has scrolled.
    const drawn = Math.min(total, TALLEST);
    body.style.height = `${drawn}px`;
    const view = scroller.clientHeight || 480;
    const room = Math.max(1, drawn - view);
    const top = drawn === total ? scroller.scrollTop : (Math.min(scroller.scrollTop, room) / room) * (total - view);
    const first = Math.max(0, Math.floor(top / height) - SPARE);
    const last = Math.min(count, Math.ceil((top + view) / height) + SPARE);
    const key = `${first} ${last} ${height}`;
    if (key === shown && !force) return;
    shown = key;
    const shift = scroller.scrollTop - top;
    const focused = body.contains(document.activeElement) ? document.activeElement.closest('.v-row')?.getAttribute('aria-rowindex') : null;
    const rows = [];
    for (let place = first; place < last; place += 1) {
      const row = el('div', { role: 'row', class: 'v-row', 'aria-rowindex': String(place + 2) }, cells(place).map((cell) => el('span', { role: 'cell' }, cell)));
      row.style.height = `${height}px`;
      row.style.transform = `translateY(${place * height + (drawn === total ? 0 : shift)}px)`;
      rows.push(row);
    }
    body.replaceChildren(...rows);
    if (focused) body.querySelector(`[aria-rowindex="${focused}"] button`)?.focus({ preventScroll: true });
  }

  let planned = false;
  scroller.addEventListener('scroll', () => {
    if (planned) return;
    planned = true;
    requestAnimationFrame(() => {
      planned = false;
      draw();
    });
  }, { passive: true });
  // Tells when it is first laid out, and when the window changes.
  new ResizeObserver(() => draw()).observe(scroller);
  draw();
  return scroller;
}
