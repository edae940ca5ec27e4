import tailwindcss from '@tailwindcss/vite';
import { defineConfig } from 'vite';
import { builtFrom } from './built-from.ts';

export default defineConfig({
  base: './', // the server may stand below a path of a proxy
  plugins: [tailwindcss(), builtFrom()],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: { outDir: '../built', emptyOutDir: true, modulePreload: false, target: 'es2022', assetsInlineLimit: 0 },
  server: { proxy: { '/v1': target(), '/api': target(), '/evidence': target() } },
});

function target(): string {
  return 'http://127.0.0.1:8000';
}
