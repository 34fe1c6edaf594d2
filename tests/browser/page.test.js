// Every function of the page in a real browser against the real server. What a server cannot be made to say (labels that are markup, a model
// that abstains, a broken answer) is put in its mouth by the browser; where that is done, the test says so.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

import { models } from './models.js';
import { startServer } from './server.js';

const binary = process.env.GAREUM;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const screenshots = fileURLToPath(new URL('screenshots/', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'gareum-browser-'));
const ENGLISH = 'My package 🙂 was supposed to arrive on Monday and I want to track my order.';
const NASTY = '<img src=x onerror="window.hacked=1">';

let browser;
let server;
let served;

before(async () => {
  mkdirSync(screenshots, { recursive: true });
  const { intents, reviews } = models(binary);
  served = [`intents=${intents}`, `reviews=${reviews}`];
  server = await startServer(binary, served, { parameters: ['--set', 'explain.gradients=true'] });
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] });
});

after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Opens the page. At its end nothing may have gone wrong in the console, nothing foreign been asked for, nothing hostile have run. */
async function open(t, { width = 1280, locale = 'en-US', dark = false, url = server.url, hash = '', routes, expected = [], init, storage = true } = {}) {
  const context = await browser.newContext({ viewport: { width, height: width < 500 ? 740 : 860 }, locale, colorScheme: dark ? 'dark' : 'light', deviceScaleFactor: width < 500 ? 2 : 1, hasTouch: width < 500, acceptDownloads: true });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const problems = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(`${error.message}\n${error.stack}`));
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('blob:')) problems.push(`asked for ${request.url()}`);
  });
  page.on('dialog', (dialog) => {
    problems.push(`dialog ${dialog.message()}`);
    dialog.dismiss();
  });
  if (init) await page.addInitScript(init);
  if (!storage) {
    await page.addInitScript(() => {
      for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, { get() { throw new DOMException('no', 'SecurityError'); } });
    });
  }
  await routes?.(page);
  await page.goto(url + hash);
  t.after(async () => {
    const hacked = await page.evaluate(() => window.hacked).catch(() => undefined);
    await context.close();
    assert.equal(hacked, undefined, 'what came from outside ran');
    assert.deepEqual(problems.filter((problem) => !expected.some((words) => problem.includes(words))), []);
  });
  return page;
}

const ready = (page) => page.waitForSelector('#state[data-state=ready]');

/** What axe finds wrong, and whether the page is wider than the window. */
async function assertAccessible(page, where) {
  // Colours half-way into an animation are nobody's.
  await page.evaluate(() => Promise.all(document.getAnimations().filter((animation) => animation.effect?.getComputedTiming().endTime < Infinity).map((animation) => animation.finished.catch(() => {}))));
  // Evaluated by the driver, not by the page: its policy allows no foreign script.
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 200)} ${failureSummary}`).join(' | ')}`);
  });
  assert.deepEqual(found, [], where);
  const { wide, most } = await page.evaluate(() => ({ wide: document.documentElement.scrollWidth, most: document.documentElement.clientWidth }));
  assert.ok(wide <= most, `${where}: ${wide} px in ${most}`);
}

async function classify(page, text) {
  await page.fill('#text', text);
  await page.keyboard.press('Control+Enter');
  await page.waitForSelector('#try-result[aria-busy=false] .verdict, #try-result[aria-busy=false] .verdicts, #try-result[aria-busy=false] .aspects');
}

const explained = (page) => page.waitForSelector('.why[aria-busy=false] .map:not(.waiting)');

function file(name, content) {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function chooseFile(page, path) {
  await page.setInputFiles('#file-input', path);
  await page.waitForSelector('#file-score, .notice.problem');
}

async function scored(page, timeout = 60_000) {
  await page.click('#file-score');
  await page.waitForSelector('#file-results', { timeout });
}

async function downloaded(page, button) {
  const [download] = await Promise.all([page.waitForEvent('download'), page.click(button)]);
  return { name: download.suggestedFilename(), text: readFileSync(await download.path(), 'utf8') };
}

/** Answers `path` with `answer(body)` instead of the server. */
const pretend = (path, answer) => (page) => page.route(`**/${path}`, async (route) => {
  const body = route.request().postDataJSON?.();
  const { status = 200, headers = {}, json, text } = await answer(body, route);
  await route.fulfill({ status, headers, contentType: text === undefined ? 'application/json' : 'text/html', body: text ?? JSON.stringify(json) });
});

for (const locale of ['en-US', 'ko-KR']) {
  for (const width of [1280, 360]) {
    for (const dark of [false, true]) {
      const name = `${locale.slice(0, 2)}-${width}-${dark ? 'dark' : 'light'}`;
      test(`every section is accessible and fits: ${name}`, async (t) => {
        const korean = locale === 'ko-KR';
        const page = await open(t, { locale, width, dark });
        const shot = (part) => page.screenshot({ path: join(screenshots, `${part}-${name}.png`), fullPage: true });
        await ready(page);
        assert.equal(await page.getAttribute('html', 'lang'), locale.slice(0, 2));
        await assertAccessible(page, 'empty');
        await shot('empty');
        if (korean) await page.selectOption('#model', 'reviews');
        await classify(page, korean ? '디자인은 예쁜데 배송이 너무 느리고 가격도 비싸요 🙂 그래도 색상은 마음에 들어요' : ENGLISH);
        await explained(page);
        await page.click('.why summary');
        await assertAccessible(page, 'result');
        await shot('try');

        await page.click('#tab-file');
        await assertAccessible(page, 'file');
        await shot('file-choose');
        await chooseFile(page, file(`rows-${name}.csv`, `id,text,label\n${Array.from({ length: 60 }, (_, row) => `${row},"${korean ? ['배송이 빨라요', '색상이 예뻐요', '가격이 비싸요'][row % 3] : ['Where is my order?', 'I want my money back', 'How do I change my address?'][row % 3]} ${row}",x`).join('\n')}\n`));
        await assertAccessible(page, 'columns');
        await shot('file-columns');
        await scored(page);
        await assertAccessible(page, 'results');
        await shot('file-results');

        await page.click('#tab-model');
        await assertAccessible(page, 'model');
        await shot('model');

        await page.click('#tab-live');
        await page.waitForSelector('#panel-live .tiles');
        await page.waitForSelector('#panel-live .curves', { timeout: 10_000 });
        await assertAccessible(page, 'live');
        await shot('live');
      });
    }
  }
}

test('a text: labels, the words for each, methods, the list of earlier texts', async (t) => {
  const page = await open(t);
  await ready(page);
  await classify(page, ENGLISH);
  const shown = await page.$$eval('.bars .value', (values) => values.map((value) => parseFloat(value.textContent)));
  assert.equal(shown.length, 6);
  assert.deepEqual(shown, [...shown].sort((a, b) => b - a));
  const verdict = await page.textContent('.verdict strong');
  assert.equal(await page.textContent('.bars .decided .name').then((name) => name.split(' ')[0]), verdict);
  await page.waitForFunction((label) => document.getElementById('announce').textContent.includes(label), verdict);

  await explained(page);
  // Marks by code points: an emoji before a word shifts nothing.
  assert.equal(await page.textContent('.map'), ENGLISH);
  const marks = await page.$$eval('.map mark', (found) => found.map(({ textContent }) => textContent));
  assert.ok(marks.length > 0);
  const words = ENGLISH.split(' ');
  for (const mark of marks) assert.ok(mark.split(' ').every((part) => part === '' || words.includes(part)), mark);
  await page.click('.why summary');
  assert.ok((await page.$$('.words tbody tr')).length >= words.length - 2);

  await page.click('.bars li:nth-child(3) button');
  const third = (await page.textContent('.bars li:nth-child(3) .name')).trim();
  await explained(page);
  assert.ok((await page.textContent('.why h3')).includes(third));
  assert.equal(await page.getAttribute('.bars li:nth-child(3) button', 'aria-pressed'), 'true');
  for (const method of ['integrated_gradients', 'gradient_input', 'occlusion']) {
    await page.check(`input[value=${method}]`);
    await explained(page);
    assert.equal(await page.textContent('.map'), ENGLISH);
  }

  await page.click('#try-result [data-focus=more]');
  assert.equal((await page.$$('.bars li')).length, 27);
  assert.equal(await page.evaluate(() => document.activeElement.dataset.focus), 'more');

  await classify(page, 'Please cancel my order');
  assert.deepEqual(await page.$$eval('#history .said', (found) => found.map(({ textContent }) => textContent)), ['Please cancel my order', ENGLISH]);
  await page.click('#history li:nth-child(2) button');
  await page.waitForFunction((text) => document.querySelector('#history .said').textContent === text, ENGLISH);
  await page.reload();
  await ready(page);
  assert.equal((await page.$$('#history li')).length, 2);
  await page.click('#history-clear');
  assert.equal(await page.isVisible('#history-part'), false);
  await page.click('#examples button');
  await page.waitForSelector('.verdict');
  await page.click('#clear');
  assert.equal(await page.inputValue('#text'), '');
  await page.waitForSelector('.nothing');
  await page.keyboard.press('Control+Enter');
  await page.waitForSelector('.notice.warning');
});

test('a server without the methods of gradients (put in the server’s mouth)', async (t) => {
  const page = await open(t, { expected: ['422'], routes: (page) => page.route('**/explain', (route) => (route.request().postDataJSON().method === 'occlusion' ? route.continue()
    : route.fulfill({ status: 422, contentType: 'application/json', body: '{"error":"only occlusion","kind":"unfit"}' }))) });
  await ready(page);
  await classify(page, ENGLISH);
  await explained(page);
  await page.check('input[value=integrated_gradients]', { noWaitAfter: true }).catch(() => {});
  await page.waitForSelector('input[value=gradient_input][disabled]');
  await explained(page);
  assert.equal(await page.isChecked('input[value=occlusion]'), true);
  assert.ok((await page.textContent('.why')).includes('offers no other method'));
  await assertAccessible(page, 'fewer methods');
});

test('a label chosen while another is weighed, a text while another is classified: the last one counts', async (t) => {
  const page = await open(t, { expected: ['ERR_ABORTED'], routes: (page) => page.route(/\/(explain|classify)$/u, async (route) => {
    const { inputs, labels } = route.request().postDataJSON();
    // The first ones are slow.
    if (labels?.[0] === 'track_order' || inputs[0] === 'slow') {
      await new Promise((resolve) => {
        setTimeout(resolve, 1500);
      });
    }
    await route.continue().catch(() => {});
  }) });
  await ready(page);
  await classify(page, ENGLISH);
  await explained(page);
  await page.click('[data-focus=more]');
  await page.click('[data-focus=label-track_order]');
  await page.click('[data-focus=label-track_refund]');
  await explained(page);
  assert.ok((await page.textContent('.why h3')).includes('track_refund'));
  await page.click('[data-focus=label-track_order]');
  await explained(page);
  assert.ok((await page.textContent('.why h3')).includes('track_order'));
  await page.fill('#text', 'slow');
  await page.keyboard.press('Control+Enter');
  await classify(page, 'quick');
  await page.waitForTimeout(2000);
  assert.equal(await page.textContent('#history .said'), 'quick');
  assert.equal((await page.$$('#history li')).length, 2);
});

test('a pair of texts', async (t) => {
  const page = await open(t);
  await ready(page);
  await page.click('#pair-toggle');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'pair');
  await page.fill('#pair', 'and my second text 👍 here');
  await classify(page, 'Where is my order?');
  await explained(page);
  assert.deepEqual(await page.$$eval('.map', (found) => found.map(({ textContent }) => textContent)), ['Where is my order?', 'and my second text 👍 here']);
});

test('a text that is too long: what was not read is crossed out', async (t) => {
  const page = await open(t);
  await ready(page);
  const long = 'I want to track my order 🙂 please. '.repeat(60).trim();
  await classify(page, long);
  await page.waitForSelector('.notice.warning');
  await explained(page);
  assert.equal(await page.textContent('.map'), long);
  const unread = await page.$$eval('.map .unread', (found) => found.map(({ textContent }) => textContent).join(''));
  assert.ok(unread.length > 100 && long.endsWith(unread));
});

test('several labels, thresholds, Korean particles', async (t) => {
  const page = await open(t, { locale: 'ko-KR' });
  await ready(page);
  await page.selectOption('#model', 'reviews');
  await classify(page, '배송은 빠른데 가격이 비싸요');
  await explained(page);
  const before = (await page.$$('.words tbody tr')).length;
  await page.check('[data-focus=particles]');
  await explained(page);
  const parts = await page.$$eval('.words tbody td:first-child', (cells) => cells.map(({ textContent }) => textContent));
  assert.ok(parts.length > before && parts.includes('은'), parts.join(' '));
});

test('a text of one word, of emoji only, of markup', async (t) => {
  const page = await open(t);
  await ready(page);
  for (const text of ['refund', '🙂👨‍👩‍👧', `${NASTY}<script>window.hacked=1</script> refund`, 'a\u0000b\u202ec', '한'.repeat(3000)]) {
    await classify(page, text);
    await explained(page);
    assert.equal((await page.textContent('.map')).length > 0, true);
    assert.equal(await page.$('#try-result img, #history img'), null);
  }
});

test('labels that are markup, a model that abstains, several decided labels (put in the server’s mouth)', async (t) => {
  const label = `${NASTY}_x`;
  let answer = { label, score: 0.9, scores: { [label]: 0.9, __proto__x: 0.05, constructor: 0.05 }, abstained: false, tokens: 3, truncated: false };
  const page = await open(t, {
    async routes(page) {
      await pretend('models', () => ({ json: { default: NASTY, models: [{ name: NASTY, kind: 'model', task: NASTY, labels: [label, 'constructor'], max_length: 12, precision: NASTY, loaded_at: NASTY, has_report: false, metrics: { validation: { accuracy: 0.5, [NASTY]: 1, classification_report: { [label]: { precision: 1, recall: 1, 'f1-score': 1, support: 3 } } }, diagnosis: { findings: [NASTY] } },
        card: `# ${NASTY}\n\n[x](javascript:window.hacked=1) ${NASTY} <script>window.hacked=1</script>\n\n| ${NASTY} |\n|---|\n| [y](https://example.org) |\n` }] } }))(page);
      await pretend('classify', (body) => ({ json: { model: NASTY, results: body.inputs.map(() => answer) } }))(page);
      await pretend('explain', (body) => ({ json: { results: [{ text: body.inputs[0], maps: [{ label, probability: 0.9, words: [{ start: -1, end: 400, score: 1, text: NASTY }], best: { start: 5, end: 2 } }], unread: null }] } }))(page);
    },
  });
  await ready(page);
  await classify(page, NASTY);
  await explained(page);
  assert.equal(await page.textContent('.verdict strong'), label);
  answer = { ...answer, label: null, score: null, abstained: true };
  await classify(page, 'again');
  assert.ok((await page.textContent('#try-result')).includes('Not sure enough'));
  answer = { ...answer, label: [label, 'constructor'], score: 0.9, abstained: false };
  await classify(page, 'again');
  assert.equal((await page.$$('.verdicts li')).length, 2);
  answer = { label: 3.25, score: null, scores: {}, abstained: false, tokens: 3, truncated: false };
  await classify(page, 'again');
  assert.equal(await page.textContent('.verdict strong'), '3.25');
  await page.click('#tab-model');
  assert.equal(await page.$('#panel-model img, #panel-model script'), null);
  assert.deepEqual(await page.$$eval('.model-card a', (links) => links.map(({ href, rel }) => [href, rel])), [['https://example.org/', 'noopener noreferrer nofollow']]);
  await assertAccessible(page, 'hostile card');
});

const CHAIN = {
  aspects: [
    { keyword: '디자인', probability: 0.97, sentiment: 'positive', score: 0.99, scores: { positive: 0.99, negative: 0.01 }, highlights: { label: 'positive', probability: 0.99, words: [{ start: 0, end: 4, text: '디자인은', score: 0.1 }, { start: 5, end: 8, text: '예쁜데', score: 0.6 }, { start: 9, end: 12, text: '배송이', score: -0.2 }], best: { start: 5, end: 8, score: 0.6 } } },
    { keyword: '배송', probability: 0.91, sentiment: '부정', score: 0.95, scores: { 긍정: 0.05, 부정: 0.95 }, highlights: [{ label: '부정', probability: 0.95, spans: [{ start: 13, end: 16, score: 0.7 }], best: { start: 13, end: 16 } }] },
    { keyword: '가격', probability: 0.6, sentiment: '0', score: 0.5, scores: {} },
  ],
  keywords: { 디자인: 0.97, 배송: 0.91, 가격: 0.6, 품질: 0.02 },
  tokens: 12,
  truncated: false,
};

test('keywords with their sentiment (put in the server’s mouth)', async (t) => {
  for (const dark of [false, true]) {
    const page = await open(t, {
      locale: 'ko-KR',
      dark,
      width: dark ? 360 : 1280,
      async routes(page) {
        await pretend('models', () => ({ json: { default: 'chain', models: [{ name: 'chain', kind: 'chain', task: 'multi_label', labels: ['디자인', '배송', '가격', '품질'], max_length: 64, precision: 'f32', loaded_at: '2026-01-01T00:00:00Z', has_report: false, metrics: null, card: null }] } }))(page);
        await pretend('classify', (body) => ({ json: { model: 'chain', results: body.inputs.map((_, index) => (index % 2 ? { ...CHAIN, aspects: [] } : CHAIN)) } }))(page);
      },
    });
    await ready(page);
    await classify(page, '디자인은 예쁜데 배송이 느려요');
    assert.deepEqual(await page.$$eval('.chip', (chips) => chips.map(({ textContent }) => textContent)), ['▲ 긍정', '▼ 부정', '◆ 0']);
    assert.equal(await page.textContent('.map mark.best'), '예쁜데');
    assert.equal(await page.textContent('.map mark.against'), '배송이');
    await page.click('.aspects li:nth-child(2) button');
    assert.equal(await page.textContent('.map mark.best'), '느려요');
    await page.click('#try-result details:last-of-type summary');
    await assertAccessible(page, 'chain');
    await page.screenshot({ path: join(screenshots, `chain-ko-${dark ? '360-dark' : '1280-light'}.png`), fullPage: true });
    await page.click('#tab-file');
    await chooseFile(page, file('chain.csv', 'text\n디자인은 예쁜데 배송이 느려요\n아무것도 아님\n'));
    await scored(page);
    assert.ok((await page.textContent('.bars.counts')).includes('배송: 부정'));
    assert.ok((await page.textContent('.bars.counts')).includes('라벨 없음'));
    const { text } = await downloaded(page, 'text=JSON lines 내려받기');
    const first = JSON.parse(text.split('\n')[0]);
    assert.deepEqual(first.label, ['디자인: positive', '배송: 부정', '가격: 0']);
    assert.equal(first.scores[0].keyword, '디자인');
    await page.click('#tab-model');
    assert.ok((await page.textContent('#panel-model')).includes('키워드와 감성'));
  }
});

const HARD = `${NASTY},"text, of the rows",label,label\r\n1,"A ""quoted"", text\r\nof two lines 🙂",=1+1,x\r\n2,"${NASTY.replaceAll('"', '""')}",@SUM(A1),y\r\n3,,-5,z\r\n4,where is my refund,+82 10,w\r\n`;

test('a file with hard contents: read, scored, filtered, downloaded', async (t) => {
  const page = await open(t, { hash: '#file' });
  await ready(page);
  await chooseFile(page, file('hard, 이름 "x".csv', `\ufeff${HARD}`));
  assert.deepEqual(await page.$$eval('#file-text option', (options) => options.map(({ textContent }) => textContent)), [NASTY, 'text, of the rows', 'label', 'label (2)']);
  assert.equal(await page.$eval('#file-text', (select) => select.selectedOptions[0].textContent), 'text, of the rows');
  assert.ok((await page.textContent('.about')).includes('4 rows'));
  await page.check('#file-keep');
  await scored(page);
  assert.ok((await page.textContent('.tiles')).includes('without a text'));
  const csv = await downloaded(page, 'text=Download csv');
  assert.ok(csv.text.startsWith('\ufeff') && csv.name.endsWith('.scored.csv'), csv.name);
  const rows = csv.text.slice(1).split('\r\n');
  assert.ok(csv.text.includes("'=1+1") && csv.text.includes("'@SUM(A1)") && csv.text.includes("'+82 10") && csv.text.includes(',-5,'));
  assert.equal(rows[0], `"${NASTY.replaceAll('"', '""')}","text, of the rows",label,label (2),label_2,score,scores,note`);
  await page.uncheck('#file-mark');
  assert.ok(!(await downloaded(page, 'text=Download csv')).text.startsWith('\ufeff'));
  const jsonl = await downloaded(page, 'text=Download JSON lines');
  const objects = jsonl.text.trim().split('\n').map((line) => JSON.parse(line));
  assert.equal(objects.length, 4);
  assert.deepEqual([objects[0].label, objects[0]['text, of the rows'], objects[2].note, objects[2].label_2], ['=1+1', 'A "quoted", text\r\nof two lines 🙂', 'empty', null]);
  assert.equal(Object.keys(objects[0].scores).length, 27);
  assert.equal(typeof objects[0].label_2, 'string');

  await page.click('.bars.counts button');
  assert.ok(Number(await page.getAttribute('[role=table]', 'aria-rowcount')) < 6);
  await page.click('text=All rows');
  await page.selectOption('#file-order', 'sure');
  const shown = await page.$$eval('.v-body .v-row > :last-child', (cells) => cells.map(({ textContent }) => parseFloat(textContent)).filter(Number.isFinite));
  assert.deepEqual(shown, [...shown].sort((a, b) => b - a));
  await page.click('.v-body .cell-text:not([disabled])');
  await page.waitForSelector('#panel-try:not([hidden]) .verdict');
  assert.equal(await page.evaluate(() => location.hash), '#try');
});

test('encodings and kinds of files; what cannot be read says so', async (t) => {
  const page = await open(t, { hash: '#file', locale: 'ko-KR' });
  await ready(page);
  const cp949 = Buffer.from([0xc5, 0xd8, 0xbd, 0xba, 0xc6, 0xae, 0x2c, 0x78, 0x0a, 0x8c, 0x63, 0xb9, 0xe6, 0xb0, 0xa2, 0xc7, 0xcf, 0x2c, 0x31, 0x0a]);
  for (const [name, content, about, cell] of [
    ['cp949.csv', cp949, 'EUC-KR', '똠방각하'],
    ['utf16.csv', Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from('텍스트\t번호\n좋아요\t1\n', 'utf16le')]), 'UTF-16', '좋아요'],
    ['rows.tsv', '번호\t텍스트\n1\t탭, 쉼표\n', 'UTF-8', '탭, 쉼표'],
    ['rows.jsonl', '{"id":1,"text":"줄 하나"}\n{"text":"둘","more":[1]}\n', '3열', '줄 하나'],
    ['lines.txt', '첫 문장, 쉼표\n둘째 문장\n', '1열', '첫 문장, 쉼표'],
  ]) {
    await chooseFile(page, file(name, content));
    assert.ok((await page.textContent('.about')).includes(about), `${name}: ${await page.textContent('.about')}`);
    assert.ok((await page.textContent('.preview')).includes(cell), name);
    await page.click('text=다른 파일 고르기');
  }
  for (const [name, content, words] of [
    ['x.xlsx', 'PK\u0003\u0004rest', 'xlsx'],
    ['empty.csv', '', '행이 없습니다'],
    ['broken.csv', Buffer.from([0x61, 0xff, 0xff, 0xff]), 'UTF-8로 저장해'],
  ]) {
    await chooseFile(page, file(name, content));
    assert.ok((await page.textContent('.notice.problem')).includes(words), name);
  }
  // Chosen by hand: another encoding, no header.
  await chooseFile(page, file('again.csv', '텍스트,x\n가,1\n'));
  await page.click('#file-how summary');
  await page.selectOption('#file-encoding', 'euc-kr');
  await page.waitForFunction(() => document.querySelector('.about')?.textContent.includes('EUC-KR'));
  await page.uncheck('#file-header');
  await page.waitForFunction(() => document.querySelector('.about')?.textContent.includes('2행'));
});

test('rows pasted and files dropped', async (t) => {
  const page = await open(t, { hash: '#file' });
  await ready(page);
  await page.fill('#file-paste', 'text\tn\nwhere is my order\t1\ncancel it, please\t2');
  await page.click('text=Read these rows');
  await page.waitForSelector('#file-score');
  assert.ok((await page.textContent('.about')).includes('2 rows'));
  const data = await page.evaluateHandle(() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File(['text,n\nfrom a drop,1\nand another,2\nthird,3\n'], 'dropped.csv'));
    return transfer;
  });
  await page.dispatchEvent('#panel-file', 'dragenter', { dataTransfer: data });
  await page.waitForSelector('#panel-file.dropping');
  await page.dispatchEvent('#panel-file', 'drop', { dataTransfer: data });
  await page.waitForFunction(() => document.querySelector('.about')?.textContent.includes('dropped.csv'));
  await scored(page);
  assert.ok((await page.textContent('.tiles')).includes('3'));
});

test('a hundred thousand rows: the page answers all the while, can be stopped and goes on', async (t) => {
  const page = await open(t, {
    hash: '#file',
    init: () => {
      window.longest = 0;
      new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) window.longest = Math.max(window.longest, duration);
      }).observe({ type: 'longtask', buffered: true });
    },
  });
  await ready(page);
  await page.selectOption('#model', 'reviews');
  const big = file('big.csv', `id,text\n${Array.from({ length: 100_000 }, (_, row) => `${row},"배송이 ${row} 빠르고, ""좋아요"""`).join('\n')}\n`);
  await chooseFile(page, big);
  assert.ok((await page.textContent('.about')).includes('100,000'));
  const began = Date.now();
  await page.click('#file-score');
  await page.waitForFunction(() => document.getElementById('file-progress')?.value > 500);
  await page.focus('#file-cancel');
  await page.keyboard.press('Escape');
  await page.waitForSelector('#file-results');
  await page.click('text=/Go on with/');
  await page.waitForSelector('#file-results', { timeout: 300_000 });
  const seconds = (Date.now() - began) / 1000;
  const said = await page.textContent('.tiles');
  assert.ok(said.includes('100,000'), said);
  // Far down, and still only a few rows in the document.
  await page.$eval('.v-scroll', (scroller) => scroller.scrollTo(0, scroller.scrollHeight));
  await page.waitForFunction(() => [...document.querySelectorAll('.v-body .v-row > :first-child')].some(({ textContent }) => textContent === '100,000'));
  assert.ok((await page.$$('.v-body .v-row')).length < 60);
  const { text } = await downloaded(page, 'text=Download csv');
  assert.equal(text.trimEnd().split('\r\n').length, 100_001);
  const longest = await page.evaluate(() => window.longest);
  t.diagnostic(`100,000 rows in ${seconds.toFixed(1)} s; the longest task took ${Math.round(longest)} ms`);
  assert.ok(longest < 1000, `${longest} ms`);
});

test('a server that limits the rate: waits are shown, nothing is lost', async (t) => {
  const limited = await startServer(binary, served, { parameters: ['--set', 'access.texts_per_second=40', '--set', 'access.burst=20'] });
  t.after(() => limited.stop());
  const page = await open(t, { url: limited.url, hash: '#file', expected: ['429'] });
  await ready(page);
  await chooseFile(page, file('limited.csv', `text\n${Array.from({ length: 120 }, (_, row) => `where is order ${row}`).join('\n')}\n`));
  await page.click('#file-score');
  await page.waitForSelector('#file-wait:not([hidden])');
  assert.ok((await page.textContent('#file-wait')).includes('busy'));
  await page.waitForSelector('#file-results', { timeout: 60_000 });
  assert.ok((await page.textContent('.tiles')).startsWith('scored120'));
  // A single text beyond the rate is told in plain words.
  await page.click('#tab-try');
  await page.evaluate(async () => {
    await Promise.all(Array.from({ length: 30 }, () => fetch('classify', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"inputs":"x"}' })));
  });
  await page.fill('#text', 'one more');
  await page.keyboard.press('Control+Enter');
  await page.waitForSelector('#try-result .notice.problem, #try-result .verdict');
});

test('busy answers and failures in plain words (put in the server’s mouth)', async (t) => {
  let answer;
  const page = await open(t, { expected: ['Failed to load resource'], routes: pretend('classify', () => answer) });
  await ready(page);
  for (const [given, words] of [
    [{ status: 429, headers: { 'retry-after': '7' }, json: { error: 'x', kind: 'rate_limited' } }, '7 seconds'],
    [{ status: 429, json: { error: 'x', kind: 'overloaded' } }, 'busy'],
    [{ status: 413, json: { error: 'x', kind: 'too_long' } }, 'longer than this server accepts'],
    [{ status: 424, json: { error: NASTY, kind: 'backend' } }, NASTY],
    [{ status: 500, text: NASTY }, 'The server failed'],
    [{ status: 502, text: '<h1>Bad gateway</h1>' }, 'The server failed'],
    [{ status: 404, json: { error: 'no', kind: 'unknown_model' } }, 'no model of this name'],
    [{ status: 200, text: '<h1>a proxy</h1>' }, 'not what this page expects'],
    [{ status: 200, json: { results: [] } }, 'not what this page expects'],
    [{ status: 200, json: null }, 'not what this page expects'],
  ]) {
    answer = given;
    await page.fill('#text', 'x');
    await page.keyboard.press('Control+Enter');
    await page.waitForFunction((said) => document.querySelector('#try-result .notice.problem')?.textContent.includes(said), words);
  }
  await assertAccessible(page, 'problem');
});

test('a server that asks for a key', async (t) => {
  const keys = file('keys.txt', 'page=sesame-sesame\n');
  const locked = await startServer(binary, served, { parameters: ['--api-keys', keys] });
  t.after(() => locked.stop());
  const page = await open(t, { url: locked.url, expected: ['401'] });
  await page.waitForSelector('#key-dialog[open]');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'key');
  await assertAccessible(page, 'key');
  await page.screenshot({ path: join(screenshots, 'key-en.png') });
  await page.fill('#key', 'wrong-wrong');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#key-wrong:not([hidden])');
  await page.fill('#key', '열쇠');
  await page.keyboard.press('Enter');
  assert.equal(await page.isVisible('#key-dialog'), true);
  await page.fill('#key', 'sesame-sesame');
  await page.keyboard.press('Enter');
  await ready(page);
  await classify(page, ENGLISH);
  await page.reload();
  await ready(page);
  await classify(page, ENGLISH);
  await page.click('#tab-model');
  const { text } = await downloaded(page, 'text=Save the report');
  assert.ok(text.startsWith('<!DOCTYPE html>'));
  await page.click('#tab-try');
  await page.click('#forget');
  await page.fill('#text', 'x');
  await page.click('#classify');
  await page.waitForSelector('#key-dialog[open]');
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => document.querySelector('#try-result .notice.problem')?.textContent.includes('API key'));
  assert.equal(await page.evaluate(() => JSON.stringify(localStorage).includes('sesame')), false);
});

test('a server that stops and comes back: noticed, said, gone on from', async (t) => {
  let own = await startServer(binary, served);
  t.after(() => own.stop());
  const page = await open(t, { url: own.url, locale: 'ko-KR', expected: ['ERR_CONNECTION', 'ERR_EMPTY', 'ERR_SOCKET', 'Failed to load resource'] });
  await ready(page);
  await classify(page, ENGLISH);
  await page.click('#tab-file');
  await chooseFile(page, file('while.csv', `text\n${Array.from({ length: 30_000 }, (_, row) => `where is order ${row}`).join('\n')}\n`));
  await page.click('#file-score');
  await page.waitForFunction(() => document.getElementById('file-progress')?.value > 100);
  await own.stop('SIGKILL');
  await page.waitForSelector('#offline:not([hidden])');
  await page.waitForSelector('#state[data-state=offline]');
  await page.waitForFunction(() => document.getElementById('file-wait').textContent.includes('응답하지 않습니다'));
  await page.screenshot({ path: join(screenshots, 'offline-ko.png') });
  await assertAccessible(page, 'offline');
  await page.click('#tab-try');
  await page.click('#classify');
  await page.waitForFunction(() => document.querySelector('#try-result .notice.problem')?.textContent.includes('서버가 응답하지 않습니다'));
  own = await startServer(binary, served, { port: own.port });
  await page.waitForSelector('#state[data-state=ready]', { timeout: 20_000 });
  await page.click('text=다시 시도');
  await page.waitForSelector('.verdict');
  await page.waitForSelector('#offline', { state: 'hidden', timeout: 10_000 });
  await page.click('#tab-file');
  await page.waitForSelector('#file-results', { timeout: 120_000 });
  assert.ok((await page.textContent('.tiles')).includes('30,000'));
});

test('a page that is opened before the server has anything to say', async (t) => {
  let up = false;
  const page = await open(t, { expected: ['Failed to load resource', 'ERR_FAILED'], async routes(page) {
    for (const path of ['models', 'ready', 'classify', 'stats']) await page.route(`**/${path}`, (route) => (up ? route.continue() : route.abort('connectionrefused')));
  } });
  await page.waitForSelector('#state[data-state=offline]');
  await page.waitForSelector('#try-result .notice.problem');
  up = true;
  await ready(page);
  await page.waitForSelector('#model option', { state: 'attached' });
  await classify(page, ENGLISH);
});

test('keys alone do everything', async (t) => {
  const page = await open(t);
  await ready(page);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  await page.focus('#tab-try');
  for (const [key, tab] of [['ArrowRight', 'file'], ['ArrowRight', 'model'], ['ArrowRight', 'live'], ['ArrowRight', 'try'], ['ArrowLeft', 'live'], ['Home', 'try'], ['End', 'live'], ['Home', 'try']]) {
    await page.keyboard.press(key);
    assert.equal(await page.evaluate(() => document.activeElement.id), `tab-${tab}`);
    assert.equal(await page.isVisible(`#panel-${tab}`), true);
    assert.equal(await page.$$eval('[role=tab]', (tabs) => tabs.filter(({ tabIndex }) => tabIndex === 0).length), 1);
  }
  const seen = await page.$eval('#tab-try', (tab) => getComputedStyle(tab).outlineStyle);
  assert.equal(seen, 'solid');
  await page.focus('#text');
  await page.keyboard.type('where is my order');
  await page.keyboard.press('Control+Enter');
  await explained(page);
  await page.focus('.bars li:nth-child(2) button');
  await page.keyboard.press('Enter');
  await explained(page);
  // What is redrawn keeps the focus.
  assert.ok((await page.evaluate(() => document.activeElement.dataset.focus)).startsWith('label-'));
});

test('language and colours are taken from the browser, changed by hand and remembered', async (t) => {
  const page = await open(t, { locale: 'ko-KR' });
  await ready(page);
  assert.equal(await page.textContent('#tab-file'), '파일');
  assert.equal(await page.title(), 'gareum: 텍스트 분류');
  await classify(page, ENGLISH);
  await page.selectOption('#language', 'en');
  assert.equal(await page.textContent('#tab-file'), 'File');
  assert.equal(await page.textContent('#try-result > h2'), 'Result');
  await page.selectOption('#theme', 'dark');
  await page.selectOption('#model', 'reviews');
  await page.reload();
  await ready(page);
  assert.deepEqual(await page.$eval('html', (html) => [html.lang, html.dataset.theme]), ['en', 'dark']);
  assert.equal(await page.inputValue('#model'), 'reviews');
  assert.equal(await page.inputValue('#theme'), 'dark');
  await page.selectOption('#theme', 'auto');
  assert.equal(await page.getAttribute('html', 'data-theme'), null);
  const french = await open(t, { locale: 'fr-FR' });
  await ready(french);
  assert.equal(await french.getAttribute('html', 'lang'), 'en');
});

test('a browser that keeps nothing', async (t) => {
  const page = await open(t, { storage: false });
  await ready(page);
  await classify(page, ENGLISH);
  await page.selectOption('#language', 'ko');
  assert.equal(await page.textContent('#tab-file'), '파일');
});

test('the model: figures, labels sorted, card, report', async (t) => {
  const page = await open(t, { hash: '#model' });
  await ready(page);
  assert.equal(await page.textContent('#panel-model h2'), 'intents');
  assert.ok((await page.textContent('.tiles.strong')).includes('Accuracy'));
  const column = () => page.$$eval('#by-label tbody td:nth-child(4)', (cells) => cells.map(({ textContent }) => Number(textContent)));
  await page.click('[data-key="f1-score"]');
  const down = await column();
  assert.ok(down.length >= 20);
  assert.deepEqual(down, [...down].sort((a, b) => b - a));
  await page.click('[data-key="f1-score"]');
  assert.deepEqual(await column(), [...down].sort((a, b) => a - b));
  assert.equal(await page.getAttribute('#by-label th[aria-sort]', 'aria-sort'), 'ascending');
  assert.ok((await page.textContent('.model-card')).includes('gareum predict'));
  await page.click('text=Report with plots');
  const frame = page.frameLocator('.report iframe');
  await frame.locator('h1').waitFor();
  assert.ok((await frame.locator('svg').count()) > 3);
  await page.selectOption('#model', 'reviews');
  assert.equal(await page.textContent('#panel-model h2'), 'reviews');
});

test('live figures: curves move, nothing is asked for while nobody looks', async (t) => {
  const page = await open(t, { hash: '#live' });
  await ready(page);
  let asked = 0;
  page.on('request', (request) => {
    if (request.url().endsWith('/stats')) asked += 1;
  });
  const texts = () => page.$$eval('#panel-live .tiles:last-of-type dd', (found) => Number(found[3].textContent.replaceAll(',', '')));
  await page.waitForSelector('#panel-live .tiles');
  const before = await texts();
  await page.evaluate(() => fetch('classify', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ inputs: Array(40).fill('where is my order') }) }));
  await page.waitForFunction((least) => Number([...document.querySelectorAll('#panel-live .tiles:last-of-type dd')][3].textContent.replaceAll(',', '')) >= least, before + 40);
  await page.waitForSelector('#panel-live svg path.stroke', { state: 'attached' });
  await page.click('#panel-live summary');
  await page.waitForTimeout(2500);
  assert.equal(await page.$eval('#panel-live details', ({ open }) => open), true);
  const hide = (hidden) => page.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  await hide(true);
  await page.waitForTimeout(500);
  asked = 0;
  await page.waitForTimeout(5000);
  assert.equal(asked, 0);
  await hide(false);
  await page.waitForTimeout(500);
  assert.equal(asked, 1);
  await page.click('#tab-try');
  await page.waitForTimeout(500);
  asked = 0;
  await page.waitForTimeout(3000);
  assert.equal(asked, 0);
});

test('less motion, printing, no scripts', async (t) => {
  const page = await open(t);
  await ready(page);
  await classify(page, ENGLISH);
  await page.emulateMedia({ reducedMotion: 'reduce' });
  assert.equal(await page.$eval('.answer', (answer) => getComputedStyle(answer).transitionDuration), '0s');
  await page.emulateMedia({ media: 'print' });
  assert.equal(await page.isVisible('#classify'), false);
  assert.equal(await page.isVisible('.verdict'), true);
  const context = await browser.newContext({ javaScriptEnabled: false });
  const bare = await context.newPage();
  await bare.goto(server.url);
  assert.equal(await bare.isVisible('noscript'), true);
  await context.close();
});
