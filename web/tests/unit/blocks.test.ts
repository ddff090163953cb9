import { describe, expect, test } from 'vitest';
import { BlockStream } from '../../src/answer/blocks';
import { AnswerView } from '../../src/answer/view';

const DOCUMENT = `# Title

A paragraph with **bold**, \`code\`, $a_b$ and a [link](https://example.org).
Its second line.

- one
- two
  - nested

  with a paragraph
- three

1. first

2. second

| a | b |
| --- | ---: |
| 1 | 2 |

\`\`\`python
def f(x):

    return x  # \`\`\` not the end
\`\`\`

> quoted
> more

$$\\int x\\,dx$$

Last words with <b>raw</b> & ampersand.
`;

function whole(text: string): string {
  const root = document.createElement('div');
  const view = new AnswerView(root);
  view.append(text);
  view.finish();
  return root.innerHTML;
}

function streamed(text: string, size: (step: number) => number): string {
  const root = document.createElement('div');
  const view = new AnswerView(root);
  for (let at = 0, step = 0; at < text.length; ++step) {
    const next = at + size(step);
    view.append(text.slice(at, next));
    view.flush();
    at = next;
  }
  view.finish();
  return root.innerHTML;
}

describe('Markdown that arrives in pieces', () => {
  test.each([1, 2, 3, 7, 50])('pieces of %i characters give the same as the whole', (size) => {
    expect(streamed(DOCUMENT, () => size)).toBe(whole(DOCUMENT));
  });

  test('any pieces give the same as the whole', () => {
    for (let seed = 1; seed <= 20; ++seed) {
      let state = seed;
      const random = () => (state = (state * 48271) % 2147483647) % 23;
      expect(streamed(DOCUMENT, () => 1 + random())).toBe(whole(DOCUMENT));
    }
  });

  test('final blocks are handed out once and in order', () => {
    const blocks = new BlockStream();
    const final: string[] = [];
    for (const piece of ['One', ' para', 'graph.\n', '\nTwo', '.\n\n- a\n', '- b\n\nThree']) final.push(...blocks.push(piece).final);
    expect(final).toHaveLength(3);
    expect(final[0]).toContain('One paragraph.');
    expect(final[2]).toMatch(/<ul>[^]*a[^]*b/);
    expect(blocks.finish()).toContain('Three');
  });

  test('an open fence is shown as code before it is closed, and never parsed as markup', () => {
    const blocks = new BlockStream();
    expect(blocks.push('```js\nconst **a').open).toEqual({ kind: 'code', language: 'js', text: 'const **a' });
    expect(blocks.push(' = 1;\n').open).toEqual({ kind: 'code', language: 'js', text: 'const **a = 1;\n' });
    expect(blocks.push('```\n\nafter').final.join('')).toContain('data-language="js"');
  });

  test('nodes of final blocks and grown text nodes stay the same objects', () => {
    const root = document.createElement('div');
    const view = new AnswerView(root);
    view.append('First paragraph.\n\nSecond');
    view.flush();
    const first = root.children[0];
    const growing = root.querySelector('.open p')!.firstChild;
    view.append(' grows');
    view.flush();
    view.append(' on');
    view.flush();
    expect(root.children[0]).toBe(first);
    expect(root.querySelector('.open p')!.firstChild).toBe(growing);
    expect((growing as Text).data).toBe('Second grows on');
  });
});

describe('what a model writes is not obeyed', () => {
  test.each([
    '<img src=x onerror=alert(1)>',
    '<script>alert(1)</script>',
    '[x](javascript:alert(1))',
    '[x](data:text/html,<script>alert(1)</script>)',
    '<a href="javascript:alert(1)">x</a>',
    '`</code><img src=x onerror=alert(1)>`',
    '```html"><img src=x onerror=alert(1)>\ncode\n```',
    '$<img src=x onerror=alert(1)>$',
    '![x](https://example.org/spy.png)',
    '<style>*{display:none}</style>',
  ])('%s', (text) => {
    const root = document.createElement('div');
    root.innerHTML = whole(text);
    expect(root.querySelector('img, script, style, iframe, svg')).toBeNull();
    for (const element of root.querySelectorAll('*')) {
      for (const { name, value } of element.attributes) {
        expect(name.startsWith('on')).toBe(false);
        if (name === 'href') expect(value).toMatch(/^(https?|mailto):/);
      }
    }
    expect(root.textContent).not.toBe('');
  });
});
