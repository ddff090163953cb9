// Conversations as they are kept and exported, and the request that asks a conversation's last question.

import { emptyAnswer, type Answer } from '../answer/answer';
import type { PageTimes } from '../account/account';
import type { ErrorKind } from '../api/errors';
import type { ChatBody, ContentPart, RequestMessage } from '../api/types';
import type { Parameters } from './settings.svelte';

export interface PictureRecord {
  id: string;
  name: string;
  width: number;
  height: number;
}

export interface UserRecord {
  role: 'user';
  id: string;
  text: string;
  pictures: PictureRecord[];
}

export interface AnswerRecord {
  role: 'assistant';
  id: string;
  answer: Answer;
  times: PageTimes | null;
  stopped: boolean;
  error: { kind: ErrorKind; detail: string } | null;
}

export type TurnRecord = UserRecord | AnswerRecord;

export interface ConversationRecord {
  id: string;
  title: string;
  updated: number; // Unix ms
  turns: TurnRecord[];
}

export interface RequestOptions {
  model: string;
  system: string;
  tools: string;
  thinking: boolean;
  parameters: Parameters;
}

// The body that asks the last question of `turns`. `address` names a picture to the server. An answer that failed before
// its first word is left out; so are thoughts (the model's template drops them anyway).
export function requestBody(
  turns: TurnRecord[],
  options: RequestOptions,
  address: (picture: PictureRecord) => string,
): ChatBody {
  const messages: RequestMessage[] = [];
  if (options.system.trim() !== '') messages.push({ role: 'system', content: options.system });
  for (const turn of turns) {
    if (turn.role === 'user') messages.push({ role: 'user', content: userContent(turn, address) });
    else if (turn.answer.content !== '') messages.push({ role: 'assistant', content: turn.answer.content });
  }
  const body: ChatBody = {
    messages,
    stream: true,
    stream_options: { include_usage: true },
    chat_template_kwargs: { enable_thinking: options.thinking },
  };
  if (options.model !== '') body.model = options.model;
  const tools = parseTools(options.tools);
  if (tools && tools.length > 0) body.tools = tools;
  for (const [name, value] of Object.entries(options.parameters)) {
    if (value !== null && Number.isFinite(value)) body[name as keyof Parameters] = value as number;
  }
  return body;
}

// The definitions in the settings' text; null if it is no JSON array of objects. No text, no tools.
export function parseTools(text: string): object[] | null {
  if (text.trim() === '') return [];
  try {
    const tools: unknown = JSON.parse(text);
    return Array.isArray(tools) && tools.every((tool) => typeof tool === 'object' && tool !== null) ? tools : null;
  } catch {
    return null;
  }
}

function userContent(turn: UserRecord, address: (picture: PictureRecord) => string): string | ContentPart[] {
  if (turn.pictures.length === 0) return turn.text;
  const parts: ContentPart[] = turn.pictures.map((picture) => ({
    type: 'file',
    file: { file_id: address(picture) },
  }));
  return turn.text === '' ? parts : [...parts, { type: 'text', text: turn.text }];
}

export function titleOf(turns: TurnRecord[]): string {
  const first = turns.find((turn): turn is UserRecord => turn.role === 'user');
  return (first?.text || first?.pictures[0]?.name || '').trim().replace(/\s+/g, ' ').slice(0, 80);
}

export function exportMarkdown(conversation: ConversationRecord, you: string, model: string): string {
  const parts = [`# ${conversation.title}`];
  for (const turn of conversation.turns) {
    if (turn.role === 'user') {
      const pictures = turn.pictures.map((p) => `*[${p.name}, ${p.width}×${p.height}]*`);
      parts.push(`## ${you}`, ...pictures, turn.text);
    } else {
      parts.push(`## ${turn.answer.model || model}`);
      if (turn.answer.reasoning) parts.push(quoted(turn.answer.reasoning));
      parts.push(turn.answer.content);
      for (const call of turn.answer.toolCalls) parts.push('```json\n' + JSON.stringify(call, null, 2) + '\n```');
    }
  }
  return parts.filter((part) => part !== '').join('\n\n') + '\n';
}

function quoted(text: string): string {
  return text.trim().split('\n').map((line) => `> ${line}`).join('\n');
}

export function exportJson(conversation: ConversationRecord): string {
  return JSON.stringify(conversation, null, 2) + '\n';
}

export function newAnswerRecord(id: string): AnswerRecord {
  return { role: 'assistant', id, answer: emptyAnswer(), times: null, stopped: false, error: null };
}
