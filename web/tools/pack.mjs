// pack.mjs DIST OUT: makes the built page part of the executable. Compresses every file of DIST into OUT/packed and writes
// OUT/page_files.S (the bytes) and OUT/page_files.inc (the table that src/page/static_files.cc includes).
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { extname, join, relative, resolve } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.webmanifest': 'application/manifest+json',
  '.woff2': 'font/woff2',
};
// Vite writes a hash of the content into the names in this folder.
const HASHED = /^\/assets\//;
// Compressing must save at least this share, or the plain bytes are sent.
const WORTH = 0.95;

const [dist, out] = process.argv.slice(2).map((path) => resolve(path));
if (!dist || !out) throw new Error('usage: pack.mjs DIST OUT');
const packed = join(out, 'packed');
rmSync(packed, { recursive: true, force: true });
mkdirSync(packed, { recursive: true });

const files = readdirSync(dist, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
  .map((file) => ({ file, path: '/' + relative(dist, file).split('\\').join('/') }))
  .map(({ file, path }) => ({ file, path: path === '/index.html' ? '/' : path }))
  .sort((a, b) => (a.path < b.path ? -1 : 1));

let assembly = '    .section .note.GNU-stack, "", %progbits\n    .section .rodata.glimpse_page, "a", %progbits\n';
let table = '';
const blob = (label, file) => {
  const bytes = file ? `    .incbin "${file}"\n` : '';
  assembly += `    .global ${label}\n${label}:\n${bytes}    .global ${label}_end\n${label}_end:\n    .byte 0\n`;
};
files.forEach(({ file, path }, index) => {
  const type = TYPES[extname(file)];
  if (!type) throw new Error(`${path}: add its content type to pack.mjs`);
  const bytes = readFileSync(file);
  const encodings = {
    gzip: gzipSync(bytes, { level: 9 }),
    brotli: brotliCompressSync(bytes, {
      params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
    }),
  };
  const label = `glimpse_page_${index}`;
  blob(label, file);
  for (const [name, data] of Object.entries(encodings)) {
    const worth = data.length < bytes.length * WORTH;
    const target = join(packed, `${index}.${name}`);
    if (worth) writeFileSync(target, data);
    blob(`${label}_${name}`, worth ? target : undefined);
  }
  const etag = createHash('sha256').update(bytes).digest('hex').slice(0, 20);
  table += `PAGE_FILE(${index}, ${JSON.stringify(path)}, ${JSON.stringify(type)}, "W/\\"${etag}\\"", ${HASHED.test(path)})\n`;
});
writeFileSync(join(out, 'page_files.S'), assembly);
writeFileSync(join(out, 'page_files.inc'), table);
