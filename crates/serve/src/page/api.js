// Calls of the server: the API key, errors as one kind of object, and whether there is a connection.

import { has, remember, remembered, t } from './language.js';

/** Longer than any batch takes on a slow machine. */
const LONGEST = 120_000;

/** What went wrong with a call. `kind` is the server's word, or `offline`, `timeout`, `answer`; `detail` the server's own sentence. */
export class ApiError extends Error {
  constructor(kind, { status, detail, retryAfter } = {}) {
    super(detail || kind);
    this.kind = kind;
    this.status = status;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }
}

/** Whether a header can carry a key. */
export const isKey = (value) => /^[\x21-\x7e]+$/u.test(value ?? '');

let key = remembered('gareum-key', 'sessionStorage');
if (!isKey(key)) key = null;
let asking = null;
let askForKey = async () => null;

/** Who asks for the key: gets whether the last one was wrong, gives one or null. */
export const onKeyNeeded = (ask) => {
  askForKey = ask;
};

export const hasKey = () => Boolean(key);

export function setKey(value) {
  key = value || null;
  remember('gareum-key', key, 'sessionStorage');
  document.dispatchEvent(new CustomEvent('key'));
}

/** Calls `path` and returns the answer's JSON. With `body` it is a POST. Asks for the key where the server wants one, and calls again. */
export async function call(path, { body, signal, timeout = LONGEST, ask = true } = {}) {
  return (await request(path, { body, signal, timeout, ask })).json().catch((error) => {
    if (signal?.aborted) throw signal.reason;
    throw new ApiError(error instanceof SyntaxError ? 'answer' : 'offline');
  });
}

/** The same for what is no JSON: the answer itself. */
export async function request(path, { body, signal, timeout = LONGEST, ask = true } = {}) {
  for (;;) {
    const sent = key;
    const response = await once(path, body, signal, timeout);
    if (response.ok) return response;
    const error = await errorOf(response);
    if (response.status !== 401 || !ask) throw error;
    // Another call may have been given a key meanwhile.
    if (key === sent) {
      asking ??= askForKey(sent !== null).finally(() => {
        asking = null;
      });
      const given = await asking;
      if (!given) throw error;
      if (key !== given) setKey(given);
    }
  }
}

async function once(path, body, signal, timeout) {
  const headers = { accept: 'application/json' };
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const late = AbortSignal.timeout(timeout);
  const signals = signal ? either(signal, late) : late;
  try {
    const response = await fetch(path, {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signals,
      cache: 'no-store',
      credentials: 'same-origin',
    });
    connected(true);
    return response;
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    if (late.aborted) throw new ApiError('timeout');
    connected(false);
    throw new ApiError('offline');
  }
}

/** A signal that follows whichever of the two comes first. */
function either(one, other) {
  if (AbortSignal.any) return AbortSignal.any([one, other]);
  const both = new AbortController();
  for (const signal of [one, other]) {
    if (signal.aborted) both.abort(signal.reason);
    signal.addEventListener('abort', () => both.abort(signal.reason), { once: true });
  }
  return both.signal;
}

async function errorOf(response) {
  const { status } = response;
  const text = await response.text().catch(() => '');
  let answer = {};
  try {
    answer = JSON.parse(text) ?? {};
  } catch {
    // A proxy's page of words says less than the status.
  }
  const wait = response.headers.get('retry-after');
  const seconds = wait === null ? undefined : /^\d+$/u.test(wait) ? Number(wait) : Math.max(0, (Date.parse(wait) - Date.now()) / 1000) || undefined;
  const said = typeof answer.error === 'string' ? answer.error : undefined;
  return new ApiError(String(answer.kind ?? answer.error_type ?? `http_${status}`), { status, detail: said, retryAfter: seconds });
}

let connection = true;

/** Tells the page, by the document's event `connection`, when the server is gone or back. */
function connected(now) {
  if (connection === now) return;
  connection = now;
  document.dispatchEvent(new CustomEvent('connection', { detail: now }));
}

export const isConnected = () => connection;

/** An error in plain words, and what the server said in its own. */
export function inWords(error) {
  if (!(error instanceof ApiError)) return { text: t('error.answer'), detail: error?.message };
  const { kind, status, detail, retryAfter } = error;
  if (kind === 'rate_limited' && retryAfter !== undefined) return { text: t('error.rate_limited', { n: Math.ceil(retryAfter) }) };
  if (kind !== 'rate_limited' && has(`error.${kind}`)) return { text: t(`error.${kind}`), detail };
  if (status === 401) return { text: t('error.unauthorized') };
  if (status === 403) return { text: t('error.forbidden'), detail };
  if (status === 404) return { text: t('error.missing'), detail };
  if (status === 405 || status === 501) return { text: t('error.missing'), detail };
  if (status === 413) return { text: t('error.too_large'), detail };
  if (status === 429) return { text: t('error.overloaded') };
  if (status === 503) return { text: t('error.not_ready'), detail };
  if (status >= 500) return { text: t('error.server'), detail };
  if (status >= 400) return { text: t('error.invalid'), detail };
  return { text: t('error.answer'), detail };
}

/** Text as it may be sent: half of a pair of surrogates is no letter. */
export const wellFormed = (text) => (text.toWellFormed ? text.toWellFormed() : text.replace(/\p{Surrogate}/gu, '\ufffd'));
