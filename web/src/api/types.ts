// The public API's shapes, as far as the page reads them (docs/websocket.md, docs/latency-account.md). Whatever the
// server leaves out is optional here: the page also talks to older servers.

export interface TextPart {
  type: 'text';
  text: string;
}

// A picture the server has: by its id of /v1/files, or by the name it was sent under on this connection.
export interface FilePart {
  type: 'file';
  file: { file_id: string };
}

export interface ImagePart {
  type: 'image_url';
  image_url: { url: string };
}

export type ContentPart = TextPart | FilePart | ImagePart;

export interface RequestMessage {
  role: 'system' | 'user' | 'assistant';
  content: string | ContentPart[];
}

export interface ChatBody {
  model?: string;
  messages: RequestMessage[];
  temperature?: number;
  top_p?: number;
  top_k?: number;
  max_tokens?: number;
  seed?: number;
  repetition_penalty?: number;
  chat_template_kwargs?: { enable_thinking: boolean };
  tools?: object[];
  stream?: boolean;
  stream_options?: { include_usage: boolean };
}

export interface ToolCallDelta {
  index: number;
  id?: string;
  function?: { name?: string; arguments?: string };
}

export interface Delta {
  role?: string;
  content?: string | null;
  reasoning_content?: string | null;
  reasoning?: string | null;
  tool_calls?: ToolCallDelta[] | null;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details?: { cached_tokens?: number; image_tokens?: number } | null;
  completion_tokens_details?: { reasoning_tokens?: number } | null;
}

// One span of the server's account: milliseconds, start relative to the request's arrival, negative before it.
export interface ServerSpan {
  name: string;
  start_ms: number;
  duration_ms: number;
  exclusive_ms?: number;
  count?: number;
  cached?: boolean;
}

export interface ServerLatency {
  arrival_ms?: number; // on the clock that pong reports
  total_ms: number;
  covered_ms?: number;
  ttft_ms?: number;
  cached_tokens?: number;
  spans: ServerSpan[];
}

export interface ChatChunk {
  id: string;
  model?: string;
  choices: { index: number; delta?: Delta | null; finish_reason?: string | null }[];
  usage?: Usage | null;
  latency?: ServerLatency;
}

export interface ApiErrorBody {
  message: string;
  type?: string;
  code?: string | number | null;
  param?: string | null;
}

export interface ModelInfo {
  id: string;
  max_model_len?: number;
  owned_by?: string;
  root?: string; // the model itself, whatever name it is served under
  // Glimpse's own additions; other servers have none.
  glimpse?: {
    max_image_pixels?: number; // larger pictures are scaled down to this area before the vision tower
    max_picture_bytes?: number;
  };
}
