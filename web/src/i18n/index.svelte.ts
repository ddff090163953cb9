// t(key): the page's words in the chosen language.

import { settings } from '../chat/settings.svelte';
import { en, type Key, type Words } from './en';
import { zh } from './zh';

const words: Record<'en' | 'zh', Words> = { en, zh };

export type Language = keyof typeof words;

export function language(): Language {
  if (settings.language !== 'auto') return settings.language;
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

export function t(key: Key, values: Record<string, string | number> = {}): string {
  return fill(words[language()][key], values);
}

export function fill(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (hole, name: string) => (name in values ? String(values[name]) : hole));
}

// 0.42, 4.2, 42, 4200 ms: three digits are enough for eyes.
export function ms(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  return value.toLocaleString('en', { maximumFractionDigits: size < 1 ? 2 : size < 20 ? 1 : 0, useGrouping: false });
}

export function bytes(value: number): string {
  if (value < 1000) return `${value} B`;
  if (value < 1e6) return `${Math.round(value / 1e3)} KB`;
  if (value < 1e9) return `${(value / 1e6).toFixed(1)} MB`;
  return `${(value / 1e9).toFixed(1)} GB`;
}
