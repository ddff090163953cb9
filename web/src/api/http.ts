// The API's plain routes.

import { ApiError, apiError, type Loading } from './errors';
import { SseParser } from './sse';
import type { ApiErrorBody, ChatBody, ChatChunk, ModelInfo } from './types';
import type { Trace } from '../account/perfetto';

export class Api {
  constructor(readonly apiKey: () => string) {}

  async models(): Promise<ModelInfo[]> {
    const list = (await this.#json('/v1/models')) as { data?: ModelInfo[] };
    return Array.isArray(list.data) ? list.data : [];
  }

  async load(): Promise<Record<string, unknown>> {
    return (await this.#json('/load')) as Record<string, unknown>;
  }

  async metrics(): Promise<string> {
    return (await this.#get('/metrics')).text();
  }

  async trace(requestId: string): Promise<Trace> {
    return (await this.#json(`/v1/traces/${encodeURIComponent(requestId)}`)) as Trace;
  }

  // POST /v1/chat/completions with a body that asks for a stream, as any client does it. `onChunk` gets every chunk as it arrives.
  async chat(body: ChatBody, onChunk: (chunk: ChatChunk) => void, signal?: AbortSignal): Promise<void> {
    const response = await this.#fetch('/v1/chat/completions', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      ...(signal ? { signal } : {}),
    });
    const parser = new SseParser();
    const decoder = new TextDecoder();
    const reader = response.body!.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      for (const data of parser.push(decoder.decode(value, { stream: !done }))) {
        if (data === '[DONE]') return;
        const chunk = JSON.parse(data) as ChatChunk & { error?: ApiErrorBody };
        if (chunk.error) throw apiError(chunk.error);
        onChunk(chunk);
      }
      if (done) throw new ApiError('interrupted');
    }
  }

  async #json(path: string): Promise<unknown> {
    return (await this.#get(path)).json();
  }

  #get(path: string): Promise<Response> {
    return this.#fetch(path, {});
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    const key = this.apiKey();
    const headers = new Headers(init.headers);
    if (key) headers.set('authorization', `Bearer ${key}`);
    let response: Response;
    try {
      response = await fetch(path, { ...init, headers });
    } catch {
      throw new ApiError('offline');
    }
    if (response.ok) return response;
    const body = (await response.json().catch(() => ({}))) as { error?: ApiErrorBody; status?: string; progress?: Loading };
    throw apiError(body.error, response.status, body.status === 'loading' ? { share: body.progress?.share ?? null } : null);
  }
}
