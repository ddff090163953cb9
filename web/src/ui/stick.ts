// Keeps a scrolled region at its end while its content grows, unless the reader has scrolled up. Sizes are observed, never
// asked for, so a streamed token forces no layout.

const NEAR = 48; // px

export function stickToEnd(region: HTMLElement): () => void {
  const content = region.firstElementChild!;
  let atEnd = true;
  const scrolled = () => (atEnd = region.scrollHeight - region.scrollTop - region.clientHeight < NEAR);
  const toEnd = () => {
    if (atEnd) region.scrollTop = 1e9;
  };
  const observer = new ResizeObserver(toEnd);
  observer.observe(content);
  observer.observe(region);
  // A new turn is what the reader has just asked for: it is shown in any case.
  const mutations = new MutationObserver(() => {
    atEnd = true;
    toEnd();
  });
  mutations.observe(content, { childList: true });
  region.addEventListener('scroll', scrolled, { passive: true });
  return () => {
    observer.disconnect();
    mutations.disconnect();
    region.removeEventListener('scroll', scrolled);
  };
}
