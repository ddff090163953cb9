// Drafts: while the question is being written, the server computes all that comes before its end. One at a time, after a
// short pause in typing.

import type { Socket } from '../api/socket';
import type { ChatBody } from '../api/types';

const PAUSE_MS = 120;

export class Drafter {
  readonly #socket: Socket;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #last = ''; // body sent last
  #under: string | null = null; // id of the draft under way

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  schedule(body: () => ChatBody, delayMs = PAUSE_MS): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send(body()), delayMs);
  }

  // The question itself is being sent; a draft that is still under way would only be in its way.
  stop(): void {
    clearTimeout(this.#timer);
    this.#last = '';
    this.#end();
  }

  #send(body: ChatBody): void {
    const text = JSON.stringify(body);
    if (text === this.#last) return;
    this.#end();
    const id = this.#socket.newId('d');
    const over = () => {
      this.#socket.release(id);
      if (this.#under === id) this.#under = null;
    };
    const sent = this.#socket.send(
      { type: 'draft', id, request: body },
      { event: over, failed: over }, // a draft that fails costs nothing but its head start
    );
    if (!sent) return;
    this.#under = id;
    this.#last = text;
  }

  #end(): void {
    if (this.#under === null) return;
    this.#socket.release(this.#under);
    this.#under = null;
  }
}
