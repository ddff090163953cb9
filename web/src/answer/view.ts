// An answer's text on the screen while it streams. Final blocks are inserted once and never touched; the open block is
// patched in place, so what did not change keeps its nodes (and the reader's selection).

import DOMPurify from 'dompurify';
import { BlockStream, type OpenBlock } from './blocks';
import { patchChildren } from './patch';

const PURIFY = {
  ALLOWED_TAGS: [
    'p', 'br', 'strong', 'em', 'del', 'code', 'pre', 'a', 'ul', 'ol', 'li', 'blockquote', 'hr', 'h1', 'h2', 'h3', 'h4', 'h5',
    'h6', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'span', 'div', 'input',
  ],
  ALLOWED_ATTR: [
    'href', 'title', 'start', 'align', 'class', 'data-tex', 'data-display', 'data-language', 'tabindex', 'type', 'checked',
    'disabled',
  ],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  RETURN_DOM_FRAGMENT: true as const,
};

export class AnswerView {
  readonly #root: HTMLElement;
  readonly #onFinal: (block: Element) => void;
  readonly #open: HTMLElement;
  readonly #blocks = new BlockStream();
  #pending = '';

  // `root` is emptied and then belongs to this view. `onFinal` gets every block once it will not change any more (for
  // formulas and highlighting, which are not worth doing twice).
  constructor(root: HTMLElement, onFinal: (block: Element) => void = () => {}) {
    this.#root = root;
    this.#onFinal = onFinal;
    this.#open = document.createElement('div');
    this.#open.className = 'open';
    root.replaceChildren(this.#open);
  }

  // Adds text; it is shown by the next flush().
  append(text: string): void {
    this.#pending += text;
  }

  flush(): void {
    if (this.#pending === '') return;
    const { final, open } = this.#blocks.push(this.#pending);
    this.#pending = '';
    for (const html of final) this.#insertFinal(html);
    this.#showOpen(open, final.length > 0);
  }

  finish(): void {
    this.flush();
    this.#open.replaceChildren();
    const html = this.#blocks.finish();
    if (html !== '') this.#insertFinal(html);
  }

  #insertFinal(html: string): void {
    const fragment = sanitized(html);
    const blocks = [...fragment.children];
    this.#root.insertBefore(fragment, this.#open);
    blocks.forEach(this.#onFinal);
  }

  #showOpen(open: OpenBlock, fresh: boolean): void {
    if (fresh) this.#open.replaceChildren();
    if (open.kind === 'html') {
      patchChildren(this.#open, sanitized(open.html));
      return;
    }
    let code = this.#open.querySelector(':scope > pre[data-open] > code');
    if (!code) {
      const pre = document.createElement('pre');
      pre.dataset['open'] = '';
      pre.tabIndex = 0;
      if (open.language) pre.dataset['language'] = open.language;
      code = document.createElement('code');
      code.append(document.createTextNode(''));
      pre.append(code);
      this.#open.replaceChildren(pre);
    }
    const text = code.firstChild as Text;
    if (open.text.startsWith(text.data)) text.appendData(open.text.slice(text.data.length));
    else text.data = open.text;
  }
}

function sanitized(html: string): DocumentFragment {
  const fragment = DOMPurify.sanitize(html, PURIFY);
  for (const link of fragment.querySelectorAll('a')) {
    link.target = '_blank';
    link.rel = 'noopener noreferrer';
  }
  return fragment;
}
