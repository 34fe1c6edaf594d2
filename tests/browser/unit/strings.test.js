import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { load, sources } from './page.js';

const { strings } = await load('strings.js');

test('both languages say the same, with the same values in it', () => {
  assert.deepEqual(Object.keys(strings.ko), Object.keys(strings.en));
  const values = (said) => [...new Set([said].flat().join(' ').match(/\{\w+\}/gu) ?? [])].sort();
  for (const key of Object.keys(strings.en)) {
    assert.deepEqual(values(strings.ko[key]), values(strings.en[key]), key);
    assert.equal(Array.isArray(strings.ko[key]), Array.isArray(strings.en[key]), key);
    assert.ok([strings.ko[key]].flat().every((said) => said.trim() !== ''), key);
  }
});

test('every key that is asked for is there, and every one that is there is asked for', () => {
  const files = readdirSync(sources).filter((name) => /\.(js|html)$/u.test(name) && name !== 'strings.js');
  const text = files.map((name) => readFileSync(join(sources, name), 'utf8')).join('\n');
  const asked = new Set([...text.matchAll(/\bt\('([\w.]+)'|data-t(?:-\w+)?="([\w.]+)"|new FileError\('([\w.]+)'|'((?:try|file|model|live|error|offline|why|page|metric|task|sentiment|state)\.[\w.]+)'/gu)].map((match) => match.slice(1).find(Boolean)));
  const made = [...text.matchAll(/`([a-z]+(?:\.[a-z]+)*\.)\$\{/gu)].map((match) => match[1]);
  for (const key of asked) assert.ok(key in strings.en || key === 'file.encoding' || made.some((start) => start === `${key}.`), key);
  for (const key of Object.keys(strings.en)) assert.ok(asked.has(key) || made.some((start) => key.startsWith(start)), `${key} is said nowhere`);
});

test('nothing in the page writes markup from strings, or style and scripts into attributes', () => {
  for (const name of readdirSync(sources)) {
    const text = readFileSync(join(sources, name), 'utf8');
    assert.ok(!/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc/u.test(text), name);
    if (name.endsWith('.html')) assert.ok(!/\son\w+=|style=|<style|<script(?![^>]*src=)/u.test(text), name);
    if (name.endsWith('.js')) assert.ok(!/\bstyle: (?!'percent')/u.test(text), name);
    assert.ok(!/https?:\/\/(?!www\.w3\.org)/u.test(text.replace(/`[^`]*`|\/\^[^\n]*/gu, '')), `${name} names an address`);
  }
});
