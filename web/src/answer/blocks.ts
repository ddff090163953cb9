// Markdown that arrives piece by piece, as a sequence of blocks (paragraph, list, fence, …). Only the last block can still
// change; all before it are final, are parsed and rendered once and never again. So the cost of a piece is that of the
// last block, not of the answer.

import { Marked, type Token, type TokensList } from 'marked';
import { escapeHtml, mathExtensions } from './math';

export interface Blocks {
  final: string[]; // HTML of the blocks that became final with this piece
  open: OpenBlock; // the one that may still grow
}

export type OpenBlock =
  | { kind: 'html'; html: string }
  // Inside a code fence nothing is markup: its text is appended, not parsed again.
  | { kind: 'code'; language: string; text: string };

const marked = new Marked({ gfm: true, breaks: true });
marked.use({
  extensions: mathExtensions,
  renderer: {
    // A model's raw HTML is text to show, not markup to obey.
    html: ({ text }) => escapeHtml(text),
    code: ({ text, lang }) => codeHtml(text, languageOf(lang ?? '')),
    // Pictures by address would tell another server who reads the answer.
    image: ({ href, text }) => `<a href="${escapeHtml(href)}">${escapeHtml(text || href)}</a>`,
    // Wide tables scroll by themselves.
    table(token) {
      const row = (cells: typeof token.header, tag: string) =>
        `<tr>${cells.map((c) => `<${tag}${c.align ? ` align="${c.align}"` : ''}>${this.parser.parseInline(c.tokens)}</${tag}>`).join('')}</tr>`;
      const body = token.rows.map((cells) => row(cells, 'td')).join('');
      return `<div class="table"><table><thead>${row(token.header, 'th')}</thead><tbody>${body}</tbody></table></div>`;
    },
  },
});

const OPEN_FENCE = /^ {0,3}(`{3,}|~{3,})([^\n`]*)\n/;

export class BlockStream {
  #tail = ''; // source of the open block

  push(text: string): Blocks {
    this.#tail += text;
    const fence = this.#openFence();
    if (fence) return { final: [], open: fence };

    const tokens = marked.lexer(this.#tail);
    let last = tokens.length - 1;
    while (last > 0 && tokens[last]!.type === 'space') --last; // blank lines may yet continue the block before them
    const final = tokens.slice(0, last).filter((token) => token.type !== 'space');
    const html = final.map((token) => this.#html(token, tokens.links));
    this.#tail = tokens.slice(Math.max(0, last)).map((token) => token.raw).join('');
    const open = tokens[last];
    if (!open) return { final: html, open: { kind: 'html', html: '' } };
    return { final: html, open: this.#openFence() ?? { kind: 'html', html: this.#html(open, tokens.links) } };
  }

  // The answer is complete: the HTML of what was open.
  finish(): string {
    const html = this.#tail.trim() === '' ? '' : (marked.parse(this.#tail) as string);
    this.#tail = '';
    return html;
  }

  #html(token: Token, links: TokensList['links']): string {
    const list = Object.assign([token], { links });
    return marked.parser(list);
  }

  // The tail as an unclosed fence, if it is one from its first character on.
  #openFence(): OpenBlock | null {
    const head = OPEN_FENCE.exec(this.#tail);
    if (!head) return null;
    const body = this.#tail.slice(head[0].length);
    const mark = head[1]!;
    const closing = new RegExp(`(?:^|\\n) {0,3}${mark[0]}{${mark.length},}[ \\t]*(?:\\n|$)`);
    if (closing.test(body)) return null;
    return { kind: 'code', language: languageOf(head[2]!), text: body };
  }
}

export function languageOf(info: string): string {
  return (info.trim().split(/\s+/)[0] ?? '').replace(/[^\w+#.-]/g, '').slice(0, 30);
}

export function codeHtml(text: string, language: string): string {
  const attribute = language ? ` data-language="${escapeHtml(language)}"` : '';
  return `<pre${attribute} tabindex="0"><code>${escapeHtml(text)}</code></pre>`;
}
