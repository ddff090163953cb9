// Formulas as extensions of the Markdown parser: $…$, $$…$$, \(…\), \[…\]. They become <span data-tex> with the source as
// text, which reads well by itself; KaTeX replaces it once it is loaded (extras.ts).

import type { TokenizerAndRendererExtension, Tokens } from 'marked';

const INLINE = /^(?:\$(?!\s)((?:\\.|[^\\$\n])+?)(?<!\s)\$(?!\d)|\\\(([\s\S]+?)\\\))/;
const BLOCK = /^ {0,3}(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n|$)/;

interface MathToken extends Tokens.Generic {
  text: string;
}

export function escapeHtml(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

export const mathExtensions: TokenizerAndRendererExtension[] = [
  {
    name: 'inlineMath',
    level: 'inline',
    start: (source) => source.match(/\$|\\\(/)?.index,
    tokenizer(source) {
      const match = INLINE.exec(source);
      return match ? { type: 'inlineMath', raw: match[0], text: (match[1] ?? match[2])!.trim() } : undefined;
    },
    renderer: (token) => {
      const tex = escapeHtml((token as MathToken).text);
      return `<span class="math" data-tex="${tex}">${tex}</span>`;
    },
  },
  {
    name: 'blockMath',
    level: 'block',
    start: (source) => source.match(/^ {0,3}(?:\$\$|\\\[)/m)?.index,
    tokenizer(source) {
      const match = BLOCK.exec(source);
      return match ? { type: 'blockMath', raw: match[0], text: (match[1] ?? match[2])!.trim() } : undefined;
    },
    renderer: (token) => {
      const tex = escapeHtml((token as MathToken).text);
      return `<p><span class="math" data-tex="${tex}" data-display="true">${tex}</span></p>`;
    },
  },
];
