import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { Plugin } from 'vite';

/** Writes a hash of the sources into the page, by which a test sees that what is committed was built from them. */
export function builtFrom(): Plugin {
  return {
    name: 'built-from',
    apply: 'build',
    transformIndexHtml() {
      return [{ tag: 'meta', attrs: { name: 'built-from', content: digest() }, injectTo: 'head' }];
    },
  };
}

function digest(): string {
  const files = readdirSync('src', { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`.replaceAll('\\', '/'));
  const hash = createHash('sha256');
  for (const file of [...files, 'index.html', 'package-lock.json'].sort()) hash.update(file).update(readFileSync(file));
  return hash.digest('hex');
}
