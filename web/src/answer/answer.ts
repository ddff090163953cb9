// The stream reducer: chat chunks → one answer. Plain data and no DOM; text only ever grows.

import type { ChatChunk, ServerLatency, Usage } from '../api/types';

export interface ToolCall {
  id: string;
  name: string;
  arguments: string;
}

export interface Answer {
  requestId: string; // the server's id of the request, also of its trace
  model: string;
  content: string;
  reasoning: string;
  toolCalls: ToolCall[];
  finishReason: string | null;
  usage: Usage | null;
  latency: ServerLatency | null;
}

export function emptyAnswer(): Answer {
  return {
    requestId: '',
    model: '',
    content: '',
    reasoning: '',
    toolCalls: [],
    finishReason: null,
    usage: null,
    latency: null,
  };
}

// Applies one chunk in place; true if it brought something to show. Only choice 0 is read: the page asks for one.
export function applyChunk(answer: Answer, chunk: ChatChunk): boolean {
  answer.requestId ||= chunk.id ?? '';
  if (chunk.model) answer.model = chunk.model;
  if (chunk.usage) answer.usage = chunk.usage;
  if (chunk.latency) answer.latency = chunk.latency;
  const choice = chunk.choices?.find((candidate) => candidate.index === 0);
  if (!choice) return false;
  if (choice.finish_reason) answer.finishReason = choice.finish_reason;

  const delta = choice.delta ?? {};
  let visible = false;
  if (delta.content) {
    // The first text of an answer starts with the line break that the template puts after the thoughts.
    const text = answer.content === '' ? delta.content.replace(/^\n+/, '') : delta.content;
    answer.content += text;
    visible ||= text !== '';
  }
  const reasoning = delta.reasoning_content ?? delta.reasoning; // the same text under two names
  if (reasoning) {
    answer.reasoning += reasoning;
    visible = true;
  }
  for (const call of delta.tool_calls ?? []) {
    const known = (answer.toolCalls[call.index] ??= { id: '', name: '', arguments: '' });
    if (call.id) known.id = call.id;
    if (call.function?.name) known.name = call.function.name;
    if (call.function?.arguments) known.arguments += call.function.arguments;
    visible = true;
  }
  return visible;
}
