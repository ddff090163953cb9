// Messages of /v1/chat/ws (docs/websocket.md): JSON text frames both ways, and a picture's bytes in binary frames after
// its announcement.

import type { ApiErrorBody, ChatBody, ChatChunk } from './types';

export type ClientMessage =
  | { type: 'auth'; api_key: string }
  | { type: 'picture'; id: string; bytes: number; content_type: string; filename: string }
  | { type: 'draft'; id: string; body: ChatBody }
  | { type: 'chat'; id: string; body: ChatBody }
  | { type: 'cancel'; id: string }
  | { type: 'ping'; id: string; client_ms: number };

export type ServerEvent =
  | { type: 'received'; id: string; file_id: string; bytes: number; server_ms?: number }
  | {
      type: 'decoded';
      id: string;
      width: number;
      height: number;
      image_tokens?: number;
      duration_ms?: number;
      server_ms?: number;
      cached?: boolean;
    }
  | { type: 'encoded'; id: string; duration_ms?: number; server_ms?: number; cached?: boolean }
  | { type: 'chunk'; id: string; data: ChatChunk }
  | { type: 'draft_done'; id: string; cached_tokens?: number; prompt_tokens?: number }
  | { type: 'done'; id: string }
  | { type: 'error'; id?: string; error: ApiErrorBody & { status?: number } }
  | { type: 'pong'; id: string; client_ms: number; server_ms: number };

export const SUBPROTOCOL = 'glimpse.v1';

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
