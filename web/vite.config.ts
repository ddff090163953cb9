import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';

// KaTeX's style sheet names every font in three formats; every browser that runs this page reads woff2.
const woff2Only: Plugin = {
  name: 'woff2-only',
  enforce: 'pre',
  transform(code, id) {
    if (!id.includes('katex') || !id.endsWith('.css')) return null;
    return code.replace(/,url\([^)]+\.(?:woff|ttf)\) format\("\w+"\)/g, '');
  },
};

// While developing, the API's routes go to a running server.
const server = process.env['GLIMPSE_URL'] ?? 'http://127.0.0.1:8000';

export default defineConfig({
  plugins: [woff2Only, svelte()],
  server: { proxy: { '/v1': { target: server, ws: true }, '/load': server, '/metrics': server } },
  build: {
    target: 'es2022',
    // The page's Content-Security-Policy allows files only: nothing is inlined as a data: address.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    emptyOutDir: true,
    reportCompressedSize: false,
  },
  worker: { format: 'es' },
});
