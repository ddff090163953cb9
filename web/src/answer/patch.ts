// Makes the children of `target` equal to those of `source`, touching only what differs. A text that grew is appended to.
// Ends up with nodes of `source` inside `target`; `source` is used up.

export function patchChildren(target: Node, source: Node): void {
  let old = target.firstChild;
  let next: ChildNode | null;
  for (let fresh = source.firstChild; fresh; fresh = next) {
    next = fresh.nextSibling;
    if (!old) {
      target.appendChild(fresh);
      continue;
    }
    const following: ChildNode | null = old.nextSibling;
    if (!patchNode(old, fresh)) target.replaceChild(fresh, old);
    old = following;
  }
  while (old) {
    const following: ChildNode | null = old.nextSibling;
    target.removeChild(old);
    old = following;
  }
}

// False if `old` cannot become `fresh` and has to be replaced.
function patchNode(old: ChildNode, fresh: ChildNode): boolean {
  if (old.nodeType !== fresh.nodeType) return false;
  if (old instanceof Text) {
    const text = (fresh as Text).data;
    if (text === old.data) return true;
    if (text.startsWith(old.data)) old.appendData(text.slice(old.data.length));
    else old.data = text;
    return true;
  }
  if (!(old instanceof Element) || !sameTag(old, fresh as Element)) return false;
  patchChildren(old, fresh);
  return true;
}

function sameTag(old: Element, fresh: Element): boolean {
  if (old.tagName !== fresh.tagName || old.attributes.length !== fresh.attributes.length) return false;
  for (const attribute of fresh.attributes) {
    if (old.getAttribute(attribute.name) !== attribute.value) return false;
  }
  return true;
}
