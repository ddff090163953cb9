// Turns the texts that name places in a finished answer into buttons.

import { findPlaces } from './places';

// Buttons get the class "place" and their number (in reading order) in data-index.
export function markPlaces(root: HTMLElement, onChoose: (index: number) => void): void {
  let index = 0;
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const texts: Text[] = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) texts.push(node as Text);
  for (const text of texts) {
    const found = findPlaces(text.data);
    if (found.length === 0) continue;
    const pieces: Node[] = [];
    let at = 0;
    for (const { begin, end } of found) {
      pieces.push(document.createTextNode(text.data.slice(at, begin)));
      pieces.push(button(text.data.slice(begin, end), index++, onChoose));
      at = end;
    }
    pieces.push(document.createTextNode(text.data.slice(at)));
    text.replaceWith(...pieces);
  }
}

function button(label: string, index: number, onChoose: (index: number) => void): HTMLButtonElement {
  const mark = document.createElement('button');
  mark.type = 'button';
  mark.className = 'place';
  mark.dataset['index'] = String(index);
  mark.textContent = label;
  mark.setAttribute('aria-pressed', 'false');
  mark.addEventListener('click', () => onChoose(index));
  return mark;
}
