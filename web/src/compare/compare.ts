// The page's way against the API's way, on the same server, from the same browser: five tasks, runs taken in turn so that
// what else the machine does meets both alike.
//   api    POST /v1/chat/completions with base64 pictures; request sent → text received
//   page   pictures and question over the WebSocket together; sent → text painted
//   ahead  the same, but the pictures were sent and a draft was made before, as when somebody types

import { AnswerView } from '../answer/view';
import { afterPaint } from '../answer/paint';
import { ApiError } from '../api/errors';
import type { Api } from '../api/http';
import type { Handler, Socket } from '../api/socket';
import type { ChatBody, ChatChunk, ContentPart } from '../api/types';
import { newId } from '../chat/ids';
import { base64, freshPng } from './png';

export type Way = 'api' | 'page' | 'ahead';
export const WAYS: Way[] = ['api', 'page', 'ahead'];

export interface Task {
  name: string;
  question: string;
  thinking: boolean;
  pictures: Uint8Array[]; // PNG
}

export interface Run {
  ttftMs: number;
  totalMs: number;
  promptTokens: number;
}

export interface CompareOptions {
  api: Api;
  socket: Socket;
  model: string;
  screen: HTMLElement; // answers of the page's way are painted here
  signal: AbortSignal;
}

const MAX_TOKENS = 128;

export async function run(way: Way, task: Task, options: CompareOptions): Promise<Run> {
  const pictures = task.pictures.map((png) => freshPng(png, newId()));
  return way === 'api' ? overApi(task, pictures, options) : overPage(task, pictures, way === 'ahead', options);
}

function body(task: Task, parts: ContentPart[], model: string): ChatBody {
  return {
    ...(model ? { model } : {}),
    messages: [{ role: 'user', content: [...parts, { type: 'text', text: task.question }] }],
    temperature: 0,
    max_tokens: MAX_TOKENS,
    stream: true,
    stream_options: { include_usage: true },
    chat_template_kwargs: { enable_thinking: task.thinking },
  };
}

async function overApi(task: Task, pictures: Uint8Array[], options: CompareOptions): Promise<Run> {
  const begin = performance.now();
  // Encoding is part of this way: a client that holds picture files has to do it.
  const parts = pictures.map((png): ContentPart => {
    return { type: 'image_url', image_url: { url: `data:image/png;base64,${base64(png)}` } };
  });
  let first = 0;
  let promptTokens = 0;
  await options.api.chat(
    body(task, parts, options.model),
    (chunk) => {
      if (first === 0 && textOf(chunk)) first = performance.now();
      promptTokens = chunk.usage?.prompt_tokens ?? promptTokens;
    },
    options.signal,
  );
  const end = performance.now();
  return { ttftMs: first - begin, totalMs: end - begin, promptTokens };
}

async function overPage(task: Task, pictures: Uint8Array[], ahead: boolean, options: CompareOptions): Promise<Run> {
  const { socket, screen, model } = options;
  const view = new AnswerView(screen);
  let begin = performance.now();
  const names = await Promise.all(pictures.map((png) => upload(socket, png, ahead)));
  const parts = names.map((name): ContentPart => ({ type: 'file', file: { file_id: name } }));
  const chat = body(task, parts, model);
  if (ahead) {
    await request(socket, 'd', (id) => ({ type: 'draft', id, request: chat }), () => {});
    begin = performance.now();
  }
  let firstPainted = 0;
  let promptTokens = 0;
  let painted: Promise<void> = Promise.resolve();
  await request(
    socket,
    'c',
    (id) => ({ type: 'chat', id, request: chat }),
    (chunk) => {
      promptTokens = chunk.usage?.prompt_tokens ?? promptTokens;
      const text = textOf(chunk);
      if (!text) return;
      view.append(text);
      view.flush();
      painted = new Promise((resolve) =>
        afterPaint((at) => {
          firstPainted ||= at;
          resolve();
        }),
      );
    },
    options.signal,
  );
  view.finish();
  await painted;
  await new Promise<void>((resolve) => afterPaint(() => resolve()));
  return { ttftMs: firstPainted - begin, totalMs: performance.now() - begin, promptTokens };
}

function textOf(chunk: ChatChunk): string {
  const delta = chunk.choices[0]?.delta;
  return delta?.content || delta?.reasoning_content || delta?.reasoning || '';
}

// Resolves with the picture's name once it is on its way (or, `seen`, once the vision tower is done with it).
function upload(socket: Socket, png: Uint8Array, seen: boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    const id = socket.newId('p');
    const over = (finish: () => void) => {
      if (seen) socket.release(id);
      finish();
    };
    socket.sendPicture(
      { id, blob: new Blob([png.slice().buffer]), name: 'compare.png' },
      {
        begin: () => {},
        progress: () => {},
        sent: () => seen || over(() => resolve(id)),
        failed: (error) => over(() => reject(error)),
        event: (event) => event.type === 'image.encoded' && over(() => resolve(id)),
      },
    );
  });
}

function request(
  socket: Socket,
  prefix: string,
  message: (id: string) => Parameters<Socket['send']>[0],
  onChunk: (chunk: ChatChunk) => void,
  signal?: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const id = socket.newId(prefix);
    const over = (finish: () => void) => {
      socket.release(id);
      finish();
    };
    const handler: Handler = {
      failed: (error) => over(() => reject(error)),
      event: (event) => {
        if (event.type === 'chat.chunk') onChunk(event.data);
        else over(resolve);
      },
    };
    signal?.addEventListener('abort', () => {
      socket.cancel(id);
      over(() => reject(new ApiError('interrupted')));
    });
    if (!socket.send(message(id), handler)) reject(new ApiError('offline'));
  });
}

export function median(values: number[]): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
