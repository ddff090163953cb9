// Messages of /v1/chat/ws (docs/websocket.md): JSON text frames both ways, and a picture's bytes in binary frames after
// its announcement.

import type { ApiErrorBody, ChatBody, ChatChunk } from './types';

export type ClientMessage =
  | { type: 'image'; id: string; size: number; filename: string }
  | { type: 'draft'; id: string; request: ChatBody }
  | { type: 'chat'; id: string; request: ChatBody }
  | { type: 'cancel'; id: string }
  | { type: 'clock'; t0: number };

// Every event but chunks has the server's clock in it.
interface Timed {
  server_ms?: number;
}

export type ServerEvent =
  | (Timed & { type: 'hello'; id?: undefined; protocol: string })
  | (Timed & { type: 'image.received'; id: string; file_id: string; bytes: number; width: number; height: number })
  | (Timed & { type: 'image.decoded'; id: string; decode_ms: number; preprocess_ms: number })
  | (Timed & { type: 'image.encoded'; id: string; vision_ms: number }) // 0: its embeddings were there already
  | (Timed & { type: 'image.failed'; id: string; error: ApiErrorBody; status?: number })
  | { type: 'chat.chunk'; id: string; data: ChatChunk }
  | (Timed & { type: 'chat.done'; id: string; cancelled: boolean })
  | (Timed & { type: 'draft.done'; id: string; status: string; prompt_tokens: number; cached_tokens: number })
  | (Timed & { type: 'error'; id?: string; error: ApiErrorBody; status?: number })
  | (Timed & { type: 'clock'; id?: undefined; t0: number });

const SUBPROTOCOL = 'glimpse.v1';

// What to offer in the handshake. Browsers cannot set headers there, so the key travels as a second name, encoded if it has
// characters that no name may have.
export function subprotocols(apiKey: string): string[] {
  if (apiKey === '') return [SUBPROTOCOL];
  if (/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(apiKey)) return [SUBPROTOCOL, `glimpse-key.${apiKey}`];
  const bytes = String.fromCharCode(...new TextEncoder().encode(apiKey));
  const encoded = btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  return [SUBPROTOCOL, `glimpse-key64.${encoded}`];
}

// The event in a text frame; null for anything that is none (a newer server may say more than we understand).
export function parseEvent(text: string): ServerEvent | null {
  try {
    const event: unknown = JSON.parse(text);
    if (typeof event === 'object' && event !== null && typeof (event as { type?: unknown }).type === 'string') {
      return event as ServerEvent;
    }
  } catch {
    // not JSON
  }
  return null;
}
