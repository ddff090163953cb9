// Server-sent events, as the chat API writes them: `data: {json}` lines, comments, and a last `data: [DONE]`.

export class SseParser {
  #rest = '';

  // The data of every event that `text` completes.
  push(text: string): string[] {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop()!;
    const events: string[] = [];
    for (const line of lines) {
      if (line.startsWith('data:')) events.push(line.slice(5).trim());
    }
    return events;
  }
}
