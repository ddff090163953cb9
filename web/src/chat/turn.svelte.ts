// The turns of the conversation on the screen. An answer's text does not go through reactive state: it is handed to its
// view piece by piece (answer/view.ts), so a token costs an append and no comparison.

import { figures, type Figures, type PageTimes, recordRender } from '../account/account';
import { applyChunk, type Answer } from '../answer/answer';
import { afterPaint, afterThisFrame, nextFrame } from '../answer/paint';
import type { ApiError } from '../api/errors';
import type { ChatChunk } from '../api/types';
import type { Picture } from '../picture/picture.svelte';
import { newAnswerRecord, type AnswerRecord, type UserRecord } from './conversation';

export class UserTurn {
  readonly role = 'user';
  readonly id: string;
  readonly text: string;
  readonly pictures: Picture[];

  constructor(id: string, text: string, pictures: Picture[]) {
    this.id = id;
    this.text = text;
    this.pictures = pictures;
  }

  record(): UserRecord {
    return { role: 'user', id: this.id, text: this.text, pictures: this.pictures.map((p) => p.record()) };
  }
}

// What shows an answer's text. `show` has to put it into the document before it returns.
export interface AnswerScreen {
  content(text: string): void; // more of the answer
  reasoning(text: string): void; // more of the thoughts
  show(): void;
  finish(): void;
}

export type AnswerStatus = 'waiting' | 'streaming' | 'done' | 'stopped' | 'failed';

export class AnswerTurn {
  readonly role = 'assistant';
  readonly id: string;
  readonly answer: Answer;
  times: PageTimes | null;
  status: AnswerStatus = $state('waiting');
  error: { kind: ApiError['kind']; detail: string } | null = $state(null);
  hasReasoning = $state(false);
  hasContent = $state(false);
  numToolCalls = $state(0);
  figures: Figures | null = $state.raw(null);
  #screen: AnswerScreen | null = null;
  #shown = { content: 0, reasoning: 0 }; // characters handed to the screen
  #frame = false; // a frame to show more is under way
  #receivedAt = 0; // of the oldest text not yet shown

  constructor(record: AnswerRecord) {
    this.id = record.id;
    this.answer = record.answer;
    this.times = record.times;
    if (record.answer.finishReason || record.error || record.stopped) {
      this.status = record.error ? 'failed' : record.stopped ? 'stopped' : 'done';
    }
    this.error = record.error;
    this.#notice();
    this.#setFigures();
  }

  static begin(id: string, times: PageTimes): AnswerTurn {
    const turn = new AnswerTurn(newAnswerRecord(id));
    turn.times = times;
    return turn;
  }

  get running(): boolean {
    return this.status === 'waiting' || this.status === 'streaming';
  }

  record(): AnswerRecord {
    const stopped = this.status === 'stopped';
    const error = this.error ? { kind: this.error.kind, detail: this.error.detail } : null;
    return { role: 'assistant', id: this.id, answer: this.answer, times: this.times, stopped, error };
  }

  // The view is in the document; it gets all text so far.
  attach(screen: AnswerScreen): void {
    this.#screen = screen;
    this.#shown = { content: 0, reasoning: 0 };
    this.#show();
    if (!this.running) screen.finish();
  }

  detach(): void {
    this.#screen = null;
  }

  // A chunk that arrived at `at`. The first text is put into the document at once; what follows, once a frame.
  chunk(chunk: ChatChunk, at: number): void {
    if (!applyChunk(this.answer, chunk)) return;
    if (this.times) {
      this.times.first ??= at;
      this.times.last = at;
    }
    this.#receivedAt ||= at;
    if (this.status === 'waiting') {
      this.status = 'streaming';
      this.#notice();
      this.#show();
      const received = this.#receivedAt;
      this.#receivedAt = 0;
      afterPaint((painted) => this.#painted(received, painted));
      return;
    }
    if (this.#frame) return;
    this.#frame = true;
    nextFrame(() => {
      this.#frame = false;
      this.#notice();
      this.#showFrame();
    });
  }

  // The stream is over, well or not. Resolves when its end is on the screen and in the account.
  end(status: 'done' | 'stopped' | 'failed', error: ApiError | null = null): Promise<void> {
    this.error = error ? { kind: error.kind, detail: error.detail } : null;
    this.#notice();
    this.#show();
    this.#screen?.finish();
    this.status = status;
    const received = this.#receivedAt;
    this.#receivedAt = 0;
    return new Promise((resolve) => {
      afterPaint((painted) => {
        if (received > 0) this.#painted(received, painted);
        this.#setFigures();
        resolve();
      });
    });
  }

  #showFrame(): void {
    this.#show();
    const received = this.#receivedAt;
    this.#receivedAt = 0;
    if (received > 0) afterThisFrame((painted) => this.#painted(received, painted));
  }

  #show(): void {
    const screen = this.#screen;
    if (!screen) return;
    const { content, reasoning } = this.answer;
    if (reasoning.length > this.#shown.reasoning) screen.reasoning(reasoning.slice(this.#shown.reasoning));
    if (content.length > this.#shown.content) screen.content(content.slice(this.#shown.content));
    this.#shown = { content: content.length, reasoning: reasoning.length };
    screen.show();
  }

  #notice(): void {
    this.hasReasoning = this.answer.reasoning !== '';
    this.hasContent = this.answer.content !== '';
    this.numToolCalls = this.answer.toolCalls.length;
  }

  #painted(received: number, painted: number): void {
    if (this.times) recordRender(this.times, received, painted);
  }

  #setFigures(): void {
    if (this.times) this.figures = figures(this.times, this.answer.usage?.completion_tokens ?? null);
  }
}

export type Turn = UserTurn | AnswerTurn;

export function picturesOf(turns: Turn[]): Picture[] {
  return turns.flatMap((turn) => (turn instanceof UserTurn ? turn.pictures : []));
}
