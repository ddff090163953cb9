import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { median } from '../../src/compare/compare';
import { base64, crc32, freshPng } from '../../src/compare/png';

const png = new Uint8Array(readFileSync(join(__dirname, '../../../models/glimpse-mini/samples/19_apps.png')));

// Every chunk's name, with its checksum checked.
function chunks(file: Uint8Array): string[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const names: string[] = [];
  let at = 8;
  while (at < file.length) {
    const length = view.getUint32(at);
    expect(view.getUint32(at + 8 + length)).toBe(crc32(file.subarray(at + 4, at + 8 + length)));
    names.push(String.fromCharCode(...file.subarray(at + 4, at + 8)));
    at += 12 + length;
  }
  expect(at).toBe(file.length);
  return names;
}

test('a fresh PNG is a valid PNG with one more chunk before its end', () => {
  expect(chunks(freshPng(png, 'abc'))).toEqual([...chunks(png).slice(0, -1), 'tEXt', 'IEND']);
  expect(freshPng(png, 'abc')).not.toEqual(freshPng(png, 'abd'));
});

test('base64 is what Node says', () => {
  const long = new Uint8Array(100_000).map((_, i) => (i * 31) % 256);
  expect(base64(long)).toBe(Buffer.from(long).toString('base64'));
});

test('medians', () => {
  expect(median([])).toBeNull();
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
});
