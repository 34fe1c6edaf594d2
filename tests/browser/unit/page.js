// The page's modules are plain `.js` files without a package.json beside them, so that they are served as they are. Here they are copied to a
// folder that says that they are modules, and imported from there.

import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const sources = fileURLToPath(new URL('../../../crates/serve/src/page/', import.meta.url));

/** A module of the page. */
export async function load(name) {
  const directory = mkdtempSync(join(tmpdir(), 'gareum-page-'));
  try {
    cpSync(sources, directory, { recursive: true });
    writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
    return await import(pathToFileURL(join(directory, name)).href);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
