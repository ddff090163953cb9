import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { en } from '../../src/i18n/en';
import { zh } from '../../src/i18n/zh';
import { bytes, fill, ms } from '../../src/i18n/index.svelte';

const holes = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();

describe('the two languages', () => {
  test('have the same keys, no empty text, the same holes', () => {
    expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
    for (const key of Object.keys(en) as (keyof typeof en)[]) {
      expect(en[key].trim(), key).not.toBe('');
      expect(zh[key].trim(), key).not.toBe('');
      expect(holes(zh[key]), key).toEqual(holes(en[key]));
    }
  });

  test('have no key that nothing uses', () => {
    const sources = files(join(__dirname, '../../src'))
      .filter((file) => !file.includes('/i18n/'))
      .map((file) => readFileSync(file, 'utf8'))
      .join('\n');
    // Keys made of parts: t(`error.${kind}.do`) uses error.*.do
    const made = [...sources.matchAll(/`([a-z_]+\.[^`\n]*\$\{[^`\n]*)`/g)].map(
      (match) => new RegExp(`^${match[1]!.replace(/\$\{[^}]*\}/g, '\\w+').replace(/\./g, '\\.')}$`),
    );
    const unused = Object.keys(en).filter((key) => !sources.includes(`'${key}'`) && !made.some((p) => p.test(key)));
    expect(unused).toEqual([]);
  });
});

test('holes are filled, unknown ones are left', () => {
  expect(fill('{a} of {b}', { a: 1 })).toBe('1 of {b}');
});

test('numbers are short', () => {
  expect([0.123, 4.26, 42.6, 1234.5, NaN].map(ms)).toEqual(['0.12', '4.3', '43', '1235', '–']);
  expect(ms(null)).toBe('–');
  expect([12, 1200, 3_400_000, 2e9].map(bytes)).toEqual(['12 B', '1 KB', '3.4 MB', '2.0 GB']);
});

function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? files(path) : [path];
  });
}
