// Rows and their results as csv and JSON lines. Needs no document.

/** A cell of csv: quoted where it must be. What a spreadsheet would take for a formula gets an apostrophe in front; numbers stay numbers. */
export function csvCell(value) {
  let text = String(value ?? '');
  if (/^[=+\-@\t\r＝＋－＠]/u.test(text) && !/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/iu.test(text)) text = `'${text}`;
  return /[",\r\n;\t]|^\s|\s$/u.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A row of csv with its line end. */
export const csvRow = (cells) => `${cells.map(csvCell).join(',')}\r\n`;

/** A name that is not among `taken`. */
export function freeName(name, taken) {
  let free = name;
  for (let copy = 2; taken.includes(free); copy += 1) free = `${name}_${copy}`;
  return free;
}

/** What a result says, as the cells `label`, `score`, `scores` and `note` of csv. `result` is null for a row without a text. */
export function resultCells(result) {
  if (!result) return ['', '', '', 'empty'];
  if (result.error) return ['', '', '', `error: ${result.error}`];
  return [labelsOf(result).join(', '), result.score ?? '', scoresOf(result) ? JSON.stringify(scoresOf(result)) : '', noteOf(result)];
}

/** The decided labels of a result as a list of names; those of a chain are `keyword: sentiment`. */
export function labelsOf(result) {
  if (!result || result.error) return [];
  if (result.aspects) return result.aspects.map(({ keyword, sentiment }) => `${keyword}: ${sentiment}`);
  if (Array.isArray(result.label)) return result.label.map(String);
  return result.label === null || result.label === undefined ? [] : [String(result.label)];
}

const noteOf = (result) => [result.abstained && 'abstained', result.truncated && 'truncated'].filter(Boolean).join(' ');
const scoresOf = (result) => result.aspects ?? result.scores;

/** A row with its result as an object for JSON lines: the texts are as they were read. */
export function resultObject(columns, row, names, result) {
  const object = {};
  columns.forEach((column, index) => {
    // `__proto__` as a column is a key like any other.
    Object.defineProperty(object, column, { value: row[index], enumerable: true, writable: true, configurable: true });
  });
  const [label, score, scores, note] = names;
  if (!result || result.error) {
    object[label] = null;
    object[note] = result ? `error: ${result.error}` : 'empty';
    return object;
  }
  object[label] = result.aspects || Array.isArray(result.label) ? labelsOf(result) : result.label ?? null;
  if (!result.aspects) object[score] = result.score ?? null;
  if (scoresOf(result)) object[scores] = scoresOf(result);
  if (noteOf(result)) object[note] = noteOf(result);
  return object;
}

/**
 * The whole table in pieces of text, about a thousand rows each, for a Blob. `kind` is 'csv' or 'jsonl'; `mark` puts the byte order mark by
 * which Excel knows UTF-8.
 */
export function* exportPieces({ columns, rows }, results, { kind, mark = false }) {
  const names = [];
  for (const name of ['label', 'score', 'scores', 'note']) names.push(freeName(name, [...columns, ...names]));
  let piece = kind === 'csv' ? (mark ? '\ufeff' : '') + csvRow([...columns, ...names]) : '';
  for (let index = 0; index < rows.length; index += 1) {
    if (results[index] === undefined) continue;
    if (kind === 'csv') piece += csvRow([...rows[index], ...resultCells(results[index])]);
    else piece += `${JSON.stringify(resultObject(columns, rows[index], names, results[index]))}\n`;
    if (index % 1000 === 999) {
      yield piece;
      piece = '';
    }
  }
  if (piece) yield piece;
}
