import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { sources } from './page.js';

const files = readdirSync(sources).filter((name) => name !== 'index.html');

test('the server has every file of the page, and the page asks for no other', () => {
  const routes = readFileSync(join(sources, '../routes/page.rs'), 'utf8');
  const served = [...routes.matchAll(/asset!\("([^"]+)"/gu)].map((match) => match[1]);
  assert.deepEqual(served.sort(), [...files].sort());
  for (const name of readdirSync(sources)) {
    const text = readFileSync(join(sources, name), 'utf8');
    const asked = name === 'index.html' ? [...text.matchAll(/"assets\/([^"]+)"/gu)] : [...text.matchAll(/from '\.\/([^']+)'/gu)];
    for (const [, file] of asked) assert.ok(files.includes(file), `${name} asks for ${file}`);
  }
});
