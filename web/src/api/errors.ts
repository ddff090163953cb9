// Every failure the page can meet, as a kind: the words (what happened, what to do) are in i18n under `error.<kind>`.

import type { ApiErrorBody } from './types';

// How far a server is with loading its model: a share from 0 to 1, or null when it cannot say.
export interface Loading {
  share: number | null;
}

export type ErrorKind =
  | 'offline' // no connection to the server
  | 'interrupted' // the connection broke during an answer
  | 'key' // no API key, or a wrong one
  | 'busy' // the server's queue is full
  | 'starting' // model still loading, or shutting down
  | 'too_long' // the conversation does not fit the model's context
  | 'picture' // not a picture the server can read
  | 'picture_size' // more bytes or pixels than the server takes
  | 'picture_gone' // the server no longer has an uploaded picture
  | 'model' // unknown model
  | 'request' // any other refusal: the server's own sentence is shown
  | 'server'; // 5xx

export class ApiError extends Error {
  constructor(
    readonly kind: ErrorKind,
    readonly detail = '', // the server's sentence, if there was one
    readonly loading: Loading | null = null, // of 'starting', when the model is being loaded
  ) {
    super(detail || kind);
  }
}

// Codes are strings where OpenAI has one, else the HTTP status (api-conventions: errors).
export function apiError(body: Partial<ApiErrorBody> | undefined, status = 0, loading: Loading | null = null): ApiError {
  const code = body?.code;
  const http = status || (typeof code === 'number' ? code : 0);
  return new ApiError(kindOf(typeof code === 'string' ? code : '', http, body?.type ?? ''), body?.message ?? '', loading);
}

function kindOf(code: string, status: number, type: string): ErrorKind {
  if (status === 401 || status === 403 || code === 'invalid_api_key' || type === 'authentication_error') return 'key';
  if (code === 'context_length_exceeded') return 'too_long';
  if (code === 'invalid_image' || code === 'image_parse_error') return 'picture';
  if (code === 'image_too_large' || code === 'file_too_large' || status === 413) return 'picture_size';
  if (code === 'file_not_found' || code === 'image_not_found') return 'picture_gone';
  if (code === 'model_not_found') return 'model';
  if (status === 429 || type === 'rate_limit_error') return 'busy';
  if (status === 503) return 'starting';
  if (status >= 500) return 'server';
  return 'request';
}
