// Code colours for the languages that answers are written in. The core and each language are chunks of their own: an
// answer loads what it shows, in pieces too small to be felt.

import hljs from 'highlight.js/lib/core';
import type { LanguageFn } from 'highlight.js';

const languages: Record<string, () => Promise<{ default: LanguageFn }>> = {
  bash: () => import('highlight.js/lib/languages/bash'),
  c: () => import('highlight.js/lib/languages/c'),
  cpp: () => import('highlight.js/lib/languages/cpp'),
  css: () => import('highlight.js/lib/languages/css'),
  go: () => import('highlight.js/lib/languages/go'),
  java: () => import('highlight.js/lib/languages/java'),
  javascript: () => import('highlight.js/lib/languages/javascript'),
  json: () => import('highlight.js/lib/languages/json'),
  markdown: () => import('highlight.js/lib/languages/markdown'),
  python: () => import('highlight.js/lib/languages/python'),
  rust: () => import('highlight.js/lib/languages/rust'),
  sql: () => import('highlight.js/lib/languages/sql'),
  typescript: () => import('highlight.js/lib/languages/typescript'),
  xml: () => import('highlight.js/lib/languages/xml'),
  yaml: () => import('highlight.js/lib/languages/yaml'),
};
const aliases: Record<string, string> = {
  'c++': 'cpp', html: 'xml', js: 'javascript', jsx: 'javascript', md: 'markdown', py: 'python', rs: 'rust', sh: 'bash',
  shell: 'bash', svg: 'xml', ts: 'typescript', tsx: 'typescript', yml: 'yaml',
};

const MAX_CHARS = 50_000; // beyond this, colouring would be felt

// The text in coloured spans; null for an unknown language or a very long text.
export async function colored(text: string, language: string): Promise<DocumentFragment | null> {
  const wanted = language.toLowerCase();
  const name = aliases[wanted] ?? wanted;
  if (text.length > MAX_CHARS || !Object.hasOwn(languages, name)) return null;
  if (!hljs.getLanguage(name)) hljs.registerLanguage(name, (await languages[name]!()).default);
  const { value } = hljs.highlight(text, { language: name, ignoreIllegals: true });
  // highlight.js escapes the text and adds <span class="hljs-…"> only.
  return document.createRange().createContextualFragment(value);
}
