// Asks a server of `gareum serve` with fetch, in Node 18 or later; the function works in browsers too.
//   GAREUM_URL=http://127.0.0.1:8080 GAREUM_KEY=... node examples/clients/node_fetch.mjs "where is my refund?"

const url = process.env.GAREUM_URL ?? 'http://127.0.0.1:8080';
const key = process.env.GAREUM_KEY;

/** The results of texts, in order. Comes again when the server is busy, as often as five times. */
async function classify(texts, options = {}) {
  for (let attempt = 0; ; attempt += 1) {
    const response = await fetch(`${url}/classify`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) },
      body: JSON.stringify({ inputs: texts, ...options }),
      signal: AbortSignal.timeout(30_000),
    });
    const answer = await response.json();
    if (response.ok) return answer.results;
    if (![429, 503].includes(response.status) || attempt === 4) throw new Error(`${answer.kind}: ${answer.error}`);
    const seconds = Number(response.headers.get('retry-after') ?? 2 ** attempt);
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  }
}

const texts = process.argv.length > 2 ? process.argv.slice(2) : ['the food was very good'];
const results = await classify(texts, { highlight: true });
results.forEach((result, index) => {
  console.log(`${JSON.stringify(texts[index])}: ${result.label} (${result.score.toFixed(3)})`);
  for (const { label, best } of result.highlights) {
    // Offsets are characters; JavaScript's strings count in UTF-16, an array of characters does not.
    if (best) console.log(`  ${label}: ${JSON.stringify([...texts[index]].slice(best.start, best.end).join(''))}`);
  }
});
