// Small models for the tests, made by the binary itself from its own sample data, and kept beside the tests until they are removed.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const cache = fileURLToPath(new URL('.models/', import.meta.url));
const samples = fileURLToPath(new URL('../../crates/cli/samples/', import.meta.url));

function gareum(binary, ...parameters) {
  execFileSync(binary, [...parameters, '--quiet'], { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, GAREUM_LANG: '' } });
}

/** Makes `name` once: `make` fills a directory, which is put in place when it is whole. */
function once(name, make) {
  const directory = join(cache, name);
  if (!existsSync(directory)) {
    const unfinished = `${directory}.unfinished`;
    rmSync(unfinished, { recursive: true, force: true });
    mkdirSync(unfinished, { recursive: true });
    console.log(`making the model \`${name}\` ...`);
    make(unfinished);
    renameSync(unfinished, directory);
  }
  return directory;
}

/** `{ intents, reviews }`: directories of a model of one label in English with a report, and of one of several labels in Korean. */
export function models(binary) {
  const intents = once('intents', (directory) => gareum(binary, 'quickstart', '--lang', 'en', '--output', join(directory, 'project')));
  const reviews = once('reviews', (directory) => {
    const lines = readFileSync(join(samples, 'korean_reviews.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line));
    const rows = lines.map(({ text, aspects }) => ({ text, label: [...new Set(aspects.map(({ category }) => category))] }));
    writeFileSync(join(directory, 'rows.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    writeFileSync(join(directory, 'gareum.toml'), `task = "multi_label"
[model]
max_length = 48
[model.scratch]
vocab_size = 1500
hidden_size = 64
num_hidden_layers = 1
num_attention_heads = 4
intermediate_size = 128
[data]
train = "rows.jsonl"
[train]
epochs = 30
batch_size = 16
learning_rate = 3e-3
precision = "f32"
early_stopping = { monitor = "loss", patience = 100 }
[output]
dir = "model"
`);
    gareum(binary, 'train', join(directory, 'gareum.toml'));
  });
  return { intents: join(intents, 'project', 'model'), reviews: join(reviews, 'model') };
}
