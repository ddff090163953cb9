// Formulas and code colours: loaded when an answer first needs them, applied to final blocks only.

let katex: Promise<typeof import('katex').default> | null = null;
let highlighter: Promise<typeof import('./highlight')> | null = null;

export function decorateBlock(block: Element): void {
  const formulas = block.querySelectorAll<HTMLElement>('.math[data-tex]');
  if (formulas.length > 0) void renderFormulas([...formulas]);
  const codes = block.matches('pre[data-language]') ? [block] : [...block.querySelectorAll('pre[data-language]')];
  for (const pre of codes) void highlight(pre as HTMLElement);
}

async function renderFormulas(formulas: HTMLElement[]): Promise<void> {
  katex ??= Promise.all([import('katex'), import('katex/dist/katex.min.css')]).then(([module]) => module.default);
  const { render } = await katex;
  for (const formula of formulas) {
    const tex = formula.dataset['tex'] ?? '';
    const options = { displayMode: 'display' in formula.dataset, throwOnError: false, maxExpand: 200, maxSize: 20 };
    try {
      render(tex, formula, options);
    } catch {
      formula.textContent = tex; // the source reads well too
    }
  }
}

async function highlight(pre: HTMLElement): Promise<void> {
  const code = pre.querySelector('code');
  if (!code) return;
  highlighter ??= import('./highlight');
  const colored = await (await highlighter).colored(code.textContent ?? '', pre.dataset['language'] ?? '');
  if (colored) code.replaceChildren(colored);
}
