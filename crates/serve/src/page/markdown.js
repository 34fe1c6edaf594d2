// A safe part of Markdown as a tree of plain objects, and the tree as elements. HTML in it is shown as text, pictures by their description;
// links lead to http(s) only. `parse` needs no document.

import { el } from './dom.js';

/** Blocks: `{ kind: 'heading', level, inline }`, `paragraph`, `code`, `list`, `quote`, `table`, `rule`. */
export function parse(markdown) {
  let lines = String(markdown).replace(/\r\n?/gu, '\n').split('\n');
  // The head of a model card is for machines.
  if (lines[0]?.trim() === '---') {
    const end = lines.findIndex((line, index) => index > 0 && line.trim() === '---');
    if (end > 0) lines = lines.slice(end + 1);
  }
  return blocks(lines, 0);
}

const FENCE = /^\s{0,3}(```+|~~~+)/u;
const HEADING = /^\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$/u;
const RULE = /^\s{0,3}([-*_])(?:\s*\1){2,}\s*$/u;
const ITEM = /^(\s*)(?:([-*+])|(\d{1,9})[.)])\s+(.*)$/u;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/u;
const COMMENT = /^\s*<!--.*-->\s*$/u;

function blocks(lines, depth) {
  const found = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (line.trim() === '' || COMMENT.test(line)) {
      at += 1;
      continue;
    }
    const fence = FENCE.exec(line);
    if (fence) {
      const mark = fence[1];
      let end = at + 1;
      while (end < lines.length && !(lines[end].trim().startsWith(mark) && lines[end].trim().replaceAll(mark[0], '') === '')) end += 1;
      found.push({ kind: 'code', text: lines.slice(at + 1, end).join('\n') });
      at = end + 1;
      continue;
    }
    const heading = HEADING.exec(line);
    if (heading) {
      found.push({ kind: 'heading', level: heading[1].length, inline: inline(heading[2]) });
      at += 1;
      continue;
    }
    if (RULE.test(line)) {
      found.push({ kind: 'rule' });
      at += 1;
      continue;
    }
    if (line.includes('|') && at + 1 < lines.length && lines[at + 1].includes('-') && TABLE_RULE.test(lines[at + 1])) {
      const head = cells(line);
      const right = cells(lines[at + 1]).map((cell) => cell.trim().endsWith(':') && !cell.trim().startsWith(':'));
      const rows = [];
      at += 2;
      while (at < lines.length && lines[at].includes('|') && lines[at].trim() !== '') {
        const row = cells(lines[at]).map(inline).slice(0, head.length);
        while (row.length < head.length) row.push([]);
        rows.push(row);
        at += 1;
      }
      found.push({ kind: 'table', head: head.map(inline), right, rows });
      continue;
    }
    // Deeper than this, what looks like nesting is read as text.
    if (line.trimStart().startsWith('>') && depth < 6) {
      const inner = [];
      while (at < lines.length && lines[at].trimStart().startsWith('>')) {
        inner.push(lines[at].trimStart().replace(/^> ?/u, ''));
        at += 1;
      }
      found.push({ kind: 'quote', blocks: blocks(inner, depth + 1) });
      continue;
    }
    const item = ITEM.exec(line);
    if (item && depth < 6) {
      const ordered = item[3] !== undefined;
      const indent = item[1].length;
      const items = [];
      while (at < lines.length) {
        const next = ITEM.exec(lines[at]);
        if (next && next[1].length <= indent + 1 && (next[3] !== undefined) === ordered) {
          items.push([next[4]]);
        } else if (lines[at].trim() !== '' && /^\s/u.test(lines[at]) && items.length) {
          items.at(-1).push(lines[at].replace(/^\s{1,4}/u, ''));
        } else if (lines[at].trim() === '' && at + 1 < lines.length && /^\s{2,}\S/u.test(lines[at + 1])) {
          items.at(-1).push('');
        } else {
          break;
        }
        at += 1;
      }
      found.push({ kind: 'list', ordered, start: ordered ? Number(item[3]) : 1, items: items.map((inner) => blocks(inner, depth + 1)) });
      continue;
    }
    const paragraph = [line];
    at += 1;
    while (at < lines.length && lines[at].trim() !== '' && !HEADING.test(lines[at]) && !FENCE.test(lines[at]) && !RULE.test(lines[at]) && !(ITEM.test(lines[at]) && depth < 6)
      && !(lines[at].trimStart().startsWith('>') && depth < 6)) {
      paragraph.push(lines[at]);
      at += 1;
    }
    found.push({ kind: 'paragraph', inline: inline(paragraph.map((part) => part.trim()).join(' ')) });
  }
  return found;
}

/** The cells of a line of a table; `\|` and bars in code end none. */
function cells(line) {
  const found = [];
  let cell = '';
  let code = false;
  const inner = line.trim().replace(/^\|/u, '').replace(/(?<!\\)\|$/u, '');
  for (let at = 0; at < inner.length; at += 1) {
    if (inner[at] === '\\' && inner[at + 1] === '|') {
      cell += '|';
      at += 1;
    } else if (inner[at] === '|' && !code) {
      found.push(cell.trim());
      cell = '';
    } else {
      if (inner[at] === '`') code = !code;
      cell += inner[at];
    }
  }
  found.push(cell.trim());
  return found;
}

/** Inline parts: strings and `{ kind: 'code' | 'strong' | 'emphasis' | 'link', ... }`. */
export function inline(text, depth = 0) {
  const parts = [];
  let plain = '';
  const flush = () => {
    if (plain) parts.push(plain);
    plain = '';
  };
  let at = 0;
  while (at < text.length) {
    const rest = text.slice(at, at + 2000);
    let match;
    if (text[at] === '\\' && /[\\`*_{}[\]()#+\-.!|<>~]/u.test(text[at + 1] ?? '')) {
      plain += text[at + 1];
      at += 2;
    } else if (text[at] === '`' && (match = /^(`+)(.+?)(?<!`)\1(?!`)/u.exec(rest))) {
      flush();
      parts.push({ kind: 'code', text: match[2].trim() });
      at += match[0].length;
    } else if (depth < 4 && (text[at] === '*' || text[at] === '_') && (match = /^(\*\*|__)(?=\S)(.+?)(?<=\S)\1/u.exec(rest))) {
      flush();
      parts.push({ kind: 'strong', inline: inline(match[2], depth + 1) });
      at += match[0].length;
    } else if (depth < 4 && (text[at] === '*' || (text[at] === '_' && !/\w/u.test(text[at - 1] ?? ''))) && (match = /^([*_])(?=\S)([^*_]+?)(?<=\S)\1(?!\w)/u.exec(rest))) {
      flush();
      parts.push({ kind: 'emphasis', inline: inline(match[2], depth + 1) });
      at += match[0].length;
    } else if (text[at] === '!' && (match = /^!\[([^\]]*)\]\([^)]*\)/u.exec(rest))) {
      plain += match[1];
      at += match[0].length;
    } else if (depth < 4 && text[at] === '[' && (match = /^\[([^\]]+)\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/u.exec(rest))) {
      flush();
      const inner = inline(match[1], depth + 1);
      if (safeAddress(match[2])) parts.push({ kind: 'link', to: match[2], inline: inner });
      else parts.push(...inner);
      at += match[0].length;
    } else if (text[at] === '<' && (match = /^<(https?:\/\/[^\s<>]+)>/u.exec(rest))) {
      flush();
      parts.push({ kind: 'link', to: match[1], inline: [match[1]] });
      at += match[0].length;
    } else {
      plain += text[at];
      at += 1;
    }
  }
  flush();
  return parts;
}

/** Only whole http(s) addresses: nothing that runs, and nothing on this server that a card's author should choose. */
export function safeAddress(address) {
  try {
    return /^https?:\/\//iu.test(address) && ['http:', 'https:'].includes(new URL(address).protocol);
  } catch {
    return false;
  }
}

/** The tree as elements. Titles start at `topLevel`, so that they fit below those of the page, and leave out no level, as cards often do. */
export function render(markdown, topLevel = 3) {
  const above = [];
  return parse(markdown).map((block) => {
    if (block.kind !== 'heading') return element(block, topLevel);
    while (above.length && above.at(-1) >= block.level) above.pop();
    above.push(block.level);
    return element({ ...block, level: above.length }, topLevel);
  });
}

function element(block, topLevel) {
  switch (block.kind) {
    case 'heading':
      return el(`h${Math.min(6, block.level + topLevel - 1)}`, {}, spans(block.inline));
    case 'code':
      return el('pre', { tabindex: '0' }, el('code', {}, block.text));
    case 'rule':
      return el('hr');
    case 'quote':
      return el('blockquote', {}, block.blocks.map((inner) => element(inner, topLevel)));
    case 'list':
      return el(block.ordered ? 'ol' : 'ul', { start: block.start === 1 ? null : block.start },
        block.items.map((item) => el('li', {}, item.map((inner) => (inner.kind === 'paragraph' ? spans(inner.inline) : element(inner, topLevel))))));
    case 'table': {
      const side = (index) => (block.right[index] ? 'number' : null);
      return el('div', { class: 'table', tabindex: '0', role: 'group' }, el('table', {},
        el('thead', {}, el('tr', {}, block.head.map((cell, index) => el('th', { scope: 'col', class: side(index) }, spans(cell))))),
        el('tbody', {}, block.rows.map((row) => el('tr', {}, row.map((cell, index) => el('td', { class: side(index) }, spans(cell))))))));
    }
    default:
      return el('p', {}, spans(block.inline));
  }
}

function spans(parts) {
  return parts.map((part) => {
    if (typeof part === 'string') return part;
    switch (part.kind) {
      case 'code':
        return el('code', {}, part.text);
      case 'strong':
        return el('strong', {}, spans(part.inline));
      case 'emphasis':
        return el('em', {}, spans(part.inline));
      default:
        return el('a', { href: part.to, target: '_blank', rel: 'noopener noreferrer nofollow' }, spans(part.inline));
    }
  });
}
