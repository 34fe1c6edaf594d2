// Rows of csv, tsv and jsonl from bytes, a piece at a time, so that a large file does not hold the page up.
// Not here: what is done with them (`file.js`) and writing them (`export.js`). Needs no document.

/** The marks that may stand between cells, the likeliest first. */
export const DELIMITERS = ['\t', ',', ';', '|'];

/** Names under which texts are kept, as `gareum train` knows them. */
const TEXT_NAMES = ['text', 'content', 'review', 'sentence', 'document', 'utterance', 'comment', 'question', 'message', 'body', 'title', 'query', 'tweet',
  '텍스트', '본문', '내용', '리뷰', '후기', '문장', '문서', '발화', '댓글', '질문', '제목'];
const OTHER_NAMES = ['label', 'labels', 'category', 'id', 'index', 'text_pair', 'rating', 'score', 'date', 'intent', 'gold', '라벨', '레이블', '분류', '번호', '별점', '날짜'];

/**
 * What the first bytes of a file say about its encoding: a byte order mark, or the zeros of UTF-16. Otherwise UTF-8, which only the
 * whole file can confirm; what is no UTF-8 is then read as EUC-KR (with CP949's letters, as browsers read it).
 */
export function sniffEncoding(bytes) {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return { encoding: 'utf-8', mark: true };
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return { encoding: 'utf-16le', mark: true };
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return { encoding: 'utf-16be', mark: true };
  const length = Math.min(bytes.length, 4096) & ~1;
  let even = 0;
  let odd = 0;
  for (let index = 0; index < length; index += 2) {
    if (bytes[index] === 0) even += 1;
    if (bytes[index + 1] === 0) odd += 1;
  }
  // Line ends and blanks have a zero byte even where all letters are Hangul.
  if (length >= 8 && odd > even && even === 0 && odd >= Math.max(2, length / 64)) return { encoding: 'utf-16le', mark: false };
  if (length >= 8 && even > odd && odd === 0 && even >= Math.max(2, length / 64)) return { encoding: 'utf-16be', mark: false };
  return { encoding: 'utf-8', mark: false };
}

/** A kind of file that is no text, by its first bytes, or null. */
export function sniffBinary(bytes) {
  const starts = (...mark) => mark.every((byte, index) => bytes[index] === byte);
  if (starts(0x50, 0x4b, 3, 4)) return 'xlsx';
  if (starts(0x50, 0x41, 0x52, 0x31)) return 'parquet';
  if (starts(0xd0, 0xcf, 0x11, 0xe0)) return 'xls';
  if (starts(0x25, 0x50, 0x44, 0x46)) return 'pdf';
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return 'zst';
  if (starts(0x1f, 0x8b)) return 'gz';
  return null;
}

/**
 * Reads delimited text by RFC 4180: cells in quotes may hold delimiters, line breaks and doubled quotes. Lenient where files are careless:
 * a quote inside a cell that does not begin with one is a letter, and what follows a closing quote belongs to the cell.
 * Lines without anything are left out. Without a delimiter (`''`) every line is one cell as it stands.
 */
export class DelimitedReader {
  constructor(delimiter, { quotes = true } = {}) {
    this.delimiter = delimiter;
    this.quotes = quotes && delimiter !== '';
    this.rows = [];
    this.row = [];
    this.cell = '';
    this.inQuotes = false;
    this.wasQuoted = false;
    this.afterReturn = false;
    this.held = '';
    this.line = 1;
    this.quoteLine = 0;
  }

  /** Takes the next piece of the text. */
  push(piece) {
    const text = this.held + piece;
    this.held = '';
    this.#read(text, false);
  }

  /** Says that nothing follows. Returns the line of a quote that was never closed, or 0. */
  finish() {
    const text = this.held;
    this.held = '';
    this.#read(text, true);
    const open = this.inQuotes ? this.quoteLine : 0;
    if (this.cell !== '' || this.row.length > 0 || this.wasQuoted) this.#endRow();
    return open;
  }

  #read(text, isLast) {
    const { delimiter } = this;
    const length = text.length;
    let at = 0;
    while (at < length) {
      if (this.inQuotes) {
        const quote = text.indexOf('"', at);
        const end = quote < 0 ? length : quote;
        for (let found = text.indexOf('\n', at); found >= 0 && found < end; found = text.indexOf('\n', found + 1)) this.line += 1;
        this.cell += text.slice(at, end);
        at = end;
        if (quote < 0) break;
        // What a quote means is seen by the letter after it.
        if (quote === length - 1 && !isLast) {
          this.held = '"';
          return;
        }
        if (text[at + 1] === '"') {
          this.cell += '"';
          at += 2;
        } else {
          this.inQuotes = false;
          at += 1;
        }
        continue;
      }
      const letter = text[at];
      if (letter === '\n') {
        at += 1;
        this.line += 1;
        if (this.afterReturn) this.afterReturn = false;
        else this.#endRow();
        continue;
      }
      this.afterReturn = false;
      if (letter === '\r') {
        at += 1;
        this.afterReturn = true;
        this.#endRow();
      } else if (letter === delimiter) {
        at += 1;
        this.#endCell();
      } else if (letter === '"' && this.quotes && this.cell === '' && !this.wasQuoted) {
        at += 1;
        this.inQuotes = true;
        this.wasQuoted = true;
        this.quoteLine = this.line;
      } else {
        let end = at + 1;
        while (end < length) {
          const next = text.charCodeAt(end);
          if (next === 10 || next === 13 || text[end] === delimiter) break;
          end += 1;
        }
        this.cell += text.slice(at, end);
        at = end;
      }
    }
  }

  #endCell() {
    this.row.push(this.cell);
    this.cell = '';
    this.wasQuoted = false;
  }

  #endRow() {
    if (this.row.length === 0 && this.cell === '' && !this.wasQuoted) return;
    this.#endCell();
    this.rows.push(this.row);
    this.row = [];
  }
}

/** Reads JSON lines: an object is a row by its keys, a string a row of its own. Lines that are neither are counted with the first one's number. */
export class JsonLinesReader {
  constructor() {
    this.columns = [];
    this.places = new Map();
    this.rows = [];
    this.held = '';
    this.line = 0;
    this.bad = 0;
    this.firstBad = 0;
  }

  push(piece) {
    const lines = (this.held + piece).split('\n');
    this.held = lines.pop();
    for (const line of lines) this.#read(line);
  }

  finish() {
    const last = this.held;
    this.held = '';
    this.#read(last);
    for (const row of this.rows) while (row.length < this.columns.length) row.push('');
    return 0;
  }

  #read(line) {
    this.line += 1;
    if (line.trim() === '') return;
    let value;
    try {
      value = JSON.parse(line);
    } catch {
      value = undefined;
    }
    if (typeof value === 'string') value = { text: value };
    if (value === null || typeof value !== 'object' || Array.isArray(value)) {
      this.bad += 1;
      if (!this.firstBad) this.firstBad = this.line;
      return;
    }
    const row = [];
    for (const [key, cell] of Object.entries(value)) {
      let place = this.places.get(key);
      if (place === undefined) {
        place = this.columns.length;
        this.places.set(key, place);
        this.columns.push(key);
      }
      while (row.length < place) row.push('');
      row[place] = typeof cell === 'string' ? cell : cell === null ? '' : JSON.stringify(cell);
    }
    this.rows.push(row);
  }
}

/** Whether the first text of a file looks like JSON lines. */
export function looksLikeJsonLines(sample) {
  const line = sample.trimStart().split('\n', 1)[0].trim();
  if (!/^[{"]/u.test(line)) return false;
  try {
    const value = JSON.parse(line);
    // A quoted csv cell alone on its line is JSON too: that one is read as csv.
    return typeof value === 'object' && value !== null;
  } catch {
    return line.startsWith('{"') && sample.trimStart().indexOf('\n') < 0;
  }
}

/** The mark between the cells of `sample`, or '' where each line is one cell: the one by which most lines have the same number of cells, at least two. */
export function guessDelimiter(sample) {
  let best = { delimiter: '', share: 0, cells: 1 };
  for (const delimiter of DELIMITERS) {
    const reader = new DelimitedReader(delimiter);
    reader.push(sample);
    // The last row of the sample may be cut in two.
    let rows = reader.rows.slice(0, 50);
    if (rows.length === 0) {
      reader.finish();
      rows = reader.rows;
    }
    if (rows.length === 0) continue;
    const cells = rows[0].length;
    if (cells < 2) continue;
    const share = rows.filter((row) => row.length === cells).length / rows.length;
    const named = rows[0].some((cell) => known(cell, TEXT_NAMES) || known(cell, OTHER_NAMES));
    // A single line proves little about commas, which sentences hold too.
    if (rows.length === 1 && delimiter !== '\t' && !named) continue;
    if ((share >= 0.8 || named) && share > best.share) best = { delimiter, share, cells };
  }
  return best.delimiter;
}

const known = (name, names) => names.includes(name.trim().toLowerCase());
const numeric = (cell) => cell.trim() !== '' && Number.isFinite(Number(cell.trim()));

/** Whether the first row holds the names of the columns. */
export function guessHeader(rows) {
  const first = rows[0];
  if (!first) return false;
  if (first.some((cell) => known(cell, TEXT_NAMES) || known(cell, OTHER_NAMES))) return true;
  if (first.length < 2 || rows.length < 2) return false;
  if (first.some((cell) => cell.trim() === '' || cell.length > 40 || numeric(cell))) return false;
  if (new Set(first).size < first.length) return false;
  // Names are short beside the texts below them.
  const width = (row) => Math.max(...row.map((cell) => cell.length));
  const rest = rows.slice(1, 50).map(width).sort((a, b) => a - b);
  return width(first) * 2 <= rest[rest.length >> 1];
}

/** Names for the columns, none twice and none empty. */
export function columnNames(first, width, nameless) {
  const names = [];
  for (let index = 0; index < width; index += 1) {
    const given = first?.[index]?.trim() || nameless(index + 1);
    let name = given;
    for (let copy = 2; names.includes(name); copy += 1) name = `${given} (${copy})`;
    names.push(name);
  }
  return names;
}

/** The column that most likely holds the texts: by its name, else the one with the longest cells that are no numbers. */
export function guessTextColumn(columns, rows) {
  for (const name of TEXT_NAMES) {
    const found = columns.findIndex((column) => column.trim().toLowerCase() === name);
    if (found >= 0) return found;
  }
  const sample = rows.slice(0, 200);
  let best = 0;
  let longest = -1;
  columns.forEach((_, index) => {
    const length = sample.reduce((sum, row) => sum + (numeric(row[index] ?? '') ? 0 : (row[index] ?? '').length), 0);
    if (length > longest) [best, longest] = [index, length];
  });
  return best;
}

/** What went wrong with a file, as a key of the page's words. */
export class FileError extends Error {
  constructor(key, values = {}) {
    super(key);
    this.key = key;
    this.values = values;
  }
}

const SAMPLE = 64 * 1024;

/**
 * Reads a table from `source`: `stream()` gives a fresh stream of bytes each time, or `text` is the text itself.
 * `choices` may set `encoding`, `delimiter`, `header`, `jsonl`; what is not set is found out.
 * Returns `{ columns, rows, encoding, mark, delimiter, header, jsonl, uneven, bad, firstBad, unquoted }`.
 */
export async function readTable(source, choices = {}, { onProgress = () => {}, signal, pause = breathe, limit = Infinity, nameless = (n) => `column ${n}` } = {}) {
  if (source.text !== undefined) {
    return parse(async function* pieces() {
      for (let at = 0; at < source.text.length; at += SAMPLE * 4) yield source.text.slice(at, at + SAMPLE * 4);
    }, { encoding: null, mark: false });
  }
  const head = await firstBytes(source.stream(), 4096);
  let open = source.stream;
  let gzip = false;
  const binary = sniffBinary(head);
  if (binary === 'gz') {
    gzip = true;
    open = () => source.stream().pipeThrough(new DecompressionStream('gzip'));
  } else if (binary) {
    throw new FileError('file.binary', { kind: binary });
  }
  const sniffed = sniffEncoding(gzip ? await firstBytes(open(), 4096) : head);
  const encodings = choices.encoding ? [choices.encoding] : sniffed.encoding === 'utf-8' && !sniffed.mark ? ['utf-8', 'euc-kr'] : [sniffed.encoding];
  for (const encoding of encodings) {
    try {
      // What was chosen by hand is shown even where it does not fit, so that one sees that it does not.
      const fatal = !choices.encoding;
      return await parse(() => decoded(open(), encoding, fatal), { encoding, mark: sniffed.mark && sniffed.encoding === encoding });
    } catch (error) {
      if (!(error instanceof UndecodableError)) throw error;
    }
  }
  throw new FileError('file.encoding');

  async function* decoded(stream, encoding, fatal) {
    const decoder = new TextDecoder(encoding, { fatal });
    const reader = stream.getReader();
    let read = 0;
    try {
      for (;;) {
        signal?.throwIfAborted();
        const { value, done } = await reader.read().catch((error) => {
          throw new FileError('file.unreadable', { reason: error.message });
        });
        read += value?.length ?? 0;
        if (read > limit) throw new FileError('file.large', { limit });
        onProgress(read);
        let text;
        try {
          text = done ? decoder.decode() : decoder.decode(value, { stream: true });
        } catch {
          throw new UndecodableError();
        }
        if (text) yield text;
        if (done) return;
      }
    } finally {
      reader.cancel().catch(() => {});
    }
  }

  async function parse(pieces, about) {
    let table = await parseOnce(pieces, choices, true);
    // A stray quote would swallow the rest of the file: such files are read as if quotes meant nothing.
    if (table.open) table = { ...(await parseOnce(pieces, { ...choices, delimiter: table.delimiter, jsonl: false }, false)), unquoted: table.open };
    return { ...about, ...table };
  }

  async function parseOnce(pieces, chosen, quotes) {
    let reader = null;
    let held = '';
    let { jsonl, delimiter } = chosen;
    const begin = () => {
      jsonl ??= looksLikeJsonLines(held);
      delimiter ??= jsonl ? '' : guessDelimiter(held);
      reader = jsonl ? new JsonLinesReader() : new DelimitedReader(delimiter, { quotes });
      reader.push(held);
      held = '';
    };
    for await (const piece of pieces()) {
      if (piece.includes('\u0000') && piece.split('\u0000').length > piece.length / 100) throw new FileError('file.binary', { kind: '?' });
      for (let at = 0; at < piece.length; at += SAMPLE * 4) {
        signal?.throwIfAborted();
        const slice = piece.slice(at, at + SAMPLE * 4);
        if (reader) reader.push(slice);
        else if ((held += slice).length >= SAMPLE) begin();
        await pause();
      }
    }
    if (!reader) begin();
    const open = reader.finish();
    const base = { delimiter, jsonl, open, unquoted: 0, bad: reader.bad ?? 0, firstBad: reader.firstBad ?? 0 };
    if (jsonl) return { ...base, header: true, columns: reader.columns, rows: reader.rows, uneven: 0 };
    const { rows } = reader;
    const header = chosen.header ?? guessHeader(rows);
    const width = header || rows.length === 0 ? rows[0]?.length ?? 0 : Math.max(...rows.slice(0, 1000).map((row) => row.length));
    const columns = columnNames(header ? rows.shift() : null, width, nameless);
    let uneven = 0;
    for (const row of rows) {
      if (row.length === width) continue;
      uneven += 1;
      while (row.length < width) row.push('');
      row.length = width;
    }
    return { ...base, header, columns, rows, uneven };
  }
}

class UndecodableError extends Error {}

async function firstBytes(stream, count) {
  const reader = stream.getReader();
  const parts = [];
  let have = 0;
  try {
    while (have < count) {
      const { value, done } = await reader.read();
      if (done) break;
      parts.push(value);
      have += value.length;
    }
  } catch (error) {
    throw new FileError('file.unreadable', { reason: error.message });
  } finally {
    reader.cancel().catch(() => {});
  }
  const bytes = new Uint8Array(have);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes.subarray(0, count);
}

let last = 0;

/** Lets the page draw and answer, at most every 12 milliseconds. */
export async function breathe() {
  const now = performance.now();
  if (now - last < 12) return;
  await new Promise((resolve) => {
    setTimeout(resolve);
  });
  last = performance.now();
}
