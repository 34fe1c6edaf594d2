import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './page.js';

const { scoreRows } = await load('score.js');
const failure = (status, kind, retryAfter) => Object.assign(new Error(kind), { status, kind, retryAfter });

/** Scores `texts` by a server that `answer`s, without waiting. */
async function run(texts, answer, options = {}) {
  const results = [];
  const waits = [];
  let calls = 0;
  await scoreRows({
    count: texts.length,
    input: (row) => texts[row],
    send: async (inputs) => {
      calls += 1;
      await new Promise((resolve) => {
        setTimeout(resolve, (calls * 7) % 4);
      });
      return answer(inputs, calls);
    },
    keep(row, result) {
      assert.equal(results[row], undefined, `row ${row} is kept twice`);
      results[row] = result;
    },
    sleep: async (seconds) => {
      waits.push(seconds);
    },
    ...options,
  });
  return { results, waits, calls };
}

const echo = (inputs) => inputs.map((text) => ({ label: text }));
const texts = Array.from({ length: 500 }, (_, index) => `text ${index}`);

test('every row gets its own result, in whatever order answers come', async () => {
  const { results, calls } = await run(texts, echo);
  assert.deepEqual(results.map(({ label }) => label), texts);
  assert.equal(calls, Math.ceil(500 / 32));
});

test('rows without a text are not sent', async () => {
  const { results } = await run(['a', null, 'b', null], (inputs) => {
    assert.ok(!inputs.includes(null));
    return echo(inputs);
  });
  assert.deepEqual(results, [{ label: 'a' }, null, { label: 'b' }, null]);
});

test('a busy server is asked again after the time that it says', async () => {
  const { results, waits } = await run(texts, (inputs, call) => {
    if (call % 3 === 1) throw failure(429, 'overloaded', 2);
    return echo(inputs);
  });
  assert.deepEqual(results.map(({ label }) => label), texts);
  assert.ok(waits.length > 0 && waits.every((seconds) => seconds === 2));
});

test('without such a time one waits longer and longer, also for a server that is gone', async () => {
  const { results, waits } = await run(['a'], (inputs, call) => {
    if (call < 8) throw call % 2 ? failure(undefined, 'offline') : failure(503, 'ending');
    return echo(inputs);
  });
  assert.deepEqual(results, [{ label: 'a' }]);
  assert.deepEqual(waits, [1, 2, 4, 8, 16, 30, 30]);
});

test('a limit of texts a second that is below a batch is met by smaller ones', async () => {
  const { results } = await run(texts.slice(0, 64), (inputs) => {
    if (inputs.length > 5) throw failure(429, 'rate_limited', 1);
    return echo(inputs);
  });
  assert.deepEqual(results.map(({ label }) => label), texts.slice(0, 64));
});

test('batches that are too large are halved, and only the row that is at fault fails', async () => {
  const { results } = await run(texts, (inputs) => {
    if (inputs.length > 10) throw failure(413, 'too_many_texts');
    if (inputs.includes('text 77')) throw failure(413, 'too_long');
    if (inputs.includes('text 123')) throw failure(422, 'tokenizer');
    return echo(inputs);
  });
  assert.deepEqual(results.filter(({ error }) => error).length, 2);
  assert.deepEqual([results[77], results[123]], [{ error: 'too_long' }, { error: 'tokenizer' }]);
  assert.equal(results[78].label, 'text 78');
});

test('a wrong key ends it, and so does whoever stops it', async () => {
  await assert.rejects(run(texts, () => {
    throw failure(401, 'unauthorized');
  }), { kind: 'unauthorized' });
  const stop = new AbortController();
  await assert.rejects(run(texts, (inputs, call) => {
    if (call === 3) stop.abort(new Error('stopped'));
    return echo(inputs);
  }, { signal: stop.signal }), { message: 'stopped' });
});

test('long texts make small batches', async () => {
  const long = Array.from({ length: 10 }, () => 'x'.repeat(9000));
  const { calls } = await run(long, echo);
  assert.equal(calls, 10);
});
