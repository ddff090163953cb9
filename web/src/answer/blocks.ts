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
    this.#tail += text.replaceAll('\r', ''); // as the parser does: it counts what it has read
    const fence = this.#openFence();
    if (fence) return { final: [], open: fence };

    const tokens = marked.lexer(this.#tail);
    const first = firstOpen(tokens);
    const html = (some: Token[]) => some.map((token) => htmlOf(token, tokens.links));
    const final = tokens.slice(0, first);
    // A list's raw text lacks the blank lines at its end: those stay in the tail, where they mean nothing.
    this.#tail = this.#tail.slice(final.reduce((length, { raw }) => length + raw.length, 0));
    return {
      final: html(final.filter((token) => token.type !== 'space')),
      open: this.#openFence() ?? { kind: 'html', html: html(tokens.slice(first)).join('') },
    };
  }

  // The answer is complete: the HTML of what was open.
  finish(): string {
    const html = this.#tail.trim() === '' ? '' : (marked.parse(this.#tail) as string);
    this.#tail = '';
    return html;
  }

  // The tail as an unclosed fence, if it is one from its first character on.
  #openFence(): OpenBlock | null {
    this.#tail = this.#tail.replace(/^\n+/, '');
    const head = OPEN_FENCE.exec(this.#tail);
    if (!head) return null;
    const body = this.#tail.slice(head[0].length);
    const mark = head[1]!;
    const closing = new RegExp(`(?:^|\\n) {0,3}${mark[0]}{${mark.length},}[ \\t]*(?:\\n|$)`);
    if (closing.test(body)) return null;
    return { kind: 'code', language: languageOf(head[2]!), text: body };
  }
}

// A line that may yet become something else: "2" an item of the list before it, "-" likewise, "`" a fence.
const UNDECIDED = /^\s*(?:\d{1,9}[.)]?|[-+*>#|`~=_:$\\]*)[ \t]*$/;

// The first block that can still change: the last one, since blank lines may yet continue it, and the one before it as long
// as the last one is an undecided line.
function firstOpen(tokens: Token[]): number {
  const blocks = tokens.flatMap((token, index) => (token.type === 'space' ? [] : [index]));
  const last = blocks[blocks.length - 1];
  if (last === undefined) return 0;
  return UNDECIDED.test(tokens[last]!.raw) ? (blocks[blocks.length - 2] ?? last) : last;
}

function htmlOf(token: Token, links: TokensList['links']): string {
  return marked.parser(Object.assign([token], { links }));
}

export function languageOf(info: string): string {
  return (info.trim().split(/\s+/)[0] ?? '').replace(/[^\w+#.-]/g, '').slice(0, 30);
}

export function codeHtml(text: string, language: string): string {
  const attribute = language ? ` data-language="${escapeHtml(language)}"` : '';
  return `<pre${attribute} tabindex="0"><code>${escapeHtml(text)}</code></pre>`;
}
