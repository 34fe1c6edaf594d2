// Sends many texts in batches and keeps going: waits where the server is busy, splits what it finds too large, finds the one row that it cannot
// take. Not here: HTTP (`api.js`) and what is shown (`file.js`). Needs no document.

/** Rows and characters of a request: small enough for every server's limits, large enough that its batches are full. */
const DEFAULTS = { batchRows: 32, batchCharacters: 16_000, concurrency: 3, longestWait: 30 };

const sleepFor = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });

/**
 * Scores the rows `0..count`. `input(row)` gives what is sent for a row, or null for a row without a text; `send(inputs, signal)` gives their
 * results or throws an error with `status` and `kind`. `keep(row, result)` takes each result: null for a row without a text, `{ error }` for one
 * that the server refuses. `notice(what)` is told of waits (`{ wait, reason }`) and of going on (`null`).
 * Ends when all rows are done, throws when `signal` says so or an error concerns all rows alike.
 */
export async function scoreRows({ count, input, send, keep, notice = () => {}, signal, sleep = sleepFor, describe = (error) => error.message, ...options }) {
  const { batchCharacters, concurrency, longestWait } = { ...DEFAULTS, ...options };
  let { batchRows } = { ...DEFAULTS, ...options };
  let next = 0;
  let patience = 1;
  let resting = null;
  let failed = null;
  const waiting = [];

  function take() {
    if (waiting.length) return waiting.pop();
    const rows = [];
    const inputs = [];
    let characters = 0;
    while (next < count && rows.length < batchRows) {
      const value = input(next);
      if (value === null) {
        keep(next, null);
        next += 1;
        continue;
      }
      const length = typeof value === 'string' ? value.length : value.text.length + value.text_pair.length;
      if (rows.length && characters + length > batchCharacters) break;
      rows.push(next);
      inputs.push(value);
      characters += length;
      next += 1;
    }
    return rows.length ? { rows, inputs } : null;
  }

  /** All who send wait together, so that a busy server is not asked by each in turn. */
  async function rest(error) {
    resting ??= (async () => {
      const seconds = Math.min(longestWait, error.retryAfter ?? patience);
      patience = Math.min(longestWait, patience * 2);
      notice({ wait: seconds, reason: error });
      try {
        await sleep(seconds, signal);
        notice(null);
      } finally {
        resting = null;
      }
    })();
    await resting;
  }

  function halves({ rows, inputs }) {
    const half = rows.length >> 1;
    return [{ rows: rows.slice(half), inputs: inputs.slice(half) }, { rows: rows.slice(0, half), inputs: inputs.slice(0, half) }];
  }

  async function work() {
    for (;;) {
      signal?.throwIfAborted();
      if (failed) return;
      if (resting) await resting;
      const batch = take();
      if (!batch) return;
      const { rows, inputs } = batch;
      try {
        const results = await send(inputs, signal);
        rows.forEach((row, index) => keep(row, results[index] ?? { error: 'no result' }));
        patience = 1;
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        const { status } = error;
        if (status === undefined && error.kind === undefined) throw error;
        if (status === 408 || status === 429 || status === 503 || error.kind === 'offline' || error.kind === 'timeout' || status === 502 || status === 504) {
          batch.turned = (batch.turned ?? 0) + 1;
          // A limit of texts a second never lets in more than it holds: twice refused, a batch is sent in halves.
          if (error.kind === 'rate_limited' && batch.turned > 1 && rows.length > 1) {
            batchRows = Math.max(1, Math.min(batchRows, rows.length >> 1));
            waiting.push(...halves(batch));
          } else {
            waiting.push(batch);
          }
          await rest(error);
        } else if (status === 401 || status === 403 || status === 404 || status === 405) {
          throw error;
        } else if (rows.length > 1) {
          if (status === 413 && error.kind !== 'too_long') batchRows = Math.max(1, Math.min(batchRows, rows.length >> 1));
          waiting.push(...halves(batch));
        } else {
          keep(rows[0], { error: describe(error) });
        }
      }
    }
  }

  const workers = Array.from({ length: concurrency }, () =>
    work().catch((error) => {
      failed ??= error;
    }));
  await Promise.all(workers);
  if (failed) throw failed;
}
