// When something is on the screen.

// Calls back right after the next paint, with its time. In a hidden tab nothing is painted: then after the next task.
export function afterPaint(callback: (painted: number) => void): void {
  if (document.hidden) {
    setTimeout(() => callback(performance.now()));
    return;
  }
  requestAnimationFrame(() => afterThisFrame(callback));
}

// For use inside an animation frame: right after the paint of this frame. A message is delivered once the frame is done.
export function afterThisFrame(callback: (painted: number) => void): void {
  const channel = new MessageChannel();
  channel.port1.onmessage = () => {
    channel.port1.close();
    callback(performance.now());
  };
  channel.port2.postMessage(0);
}

// Runs `work` in the next animation frame (soon, in a hidden tab).
export function nextFrame(work: () => void): void {
  if (document.hidden) setTimeout(work, 16);
  else requestAnimationFrame(work);
}
