import { describe, expect, test } from 'vitest';
import { applyChunk, emptyAnswer } from '../../src/answer/answer';
import type { ChatChunk, Delta } from '../../src/api/types';

const chunk = (delta: Delta, more: Partial<ChatChunk> = {}): ChatChunk => ({
  id: 'chatcmpl-1',
  choices: [{ index: 0, delta }],
  ...more,
});

describe('the stream reducer', () => {
  test('adds up text, thoughts, usage and the end', () => {
    const answer = emptyAnswer();
    expect(applyChunk(answer, chunk({ role: 'assistant', reasoning_content: 'I see', reasoning: 'I see' }))).toBe(true);
    applyChunk(answer, chunk({ reasoning_content: ' two.' }));
    applyChunk(answer, chunk({ content: 'Two' }, { model: 'mini' }));
    applyChunk(answer, chunk({ content: ' cats.' }));
    const usage = { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 };
    const last: ChatChunk = { id: 'chatcmpl-1', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage };
    expect(applyChunk(answer, last)).toBe(false);
    expect(answer).toMatchObject({
      requestId: 'chatcmpl-1',
      model: 'mini',
      content: 'Two cats.',
      reasoning: 'I see two.',
      finishReason: 'stop',
      usage,
    });
  });

  test('drops the line breaks before the first word only', () => {
    const answer = emptyAnswer();
    expect(applyChunk(answer, chunk({ content: '\n' }))).toBe(false);
    applyChunk(answer, chunk({ content: '\nA' }));
    applyChunk(answer, chunk({ content: '\n\nB' }));
    expect(answer.content).toBe('A\n\nB');
  });

  test('collects tool calls by index', () => {
    const answer = emptyAnswer();
    const call = (index: number, id: string, name: string, text: string) =>
      chunk({ tool_calls: [{ index, ...(id ? { id } : {}), function: { ...(name ? { name } : {}), arguments: text } }] });
    applyChunk(answer, call(0, 'call_1', 'tap', '{"x":'));
    applyChunk(answer, call(1, 'call_2', 'type', '{}'));
    applyChunk(answer, call(0, '', '', '5}'));
    expect(answer.toolCalls).toEqual([
      { id: 'call_1', name: 'tap', arguments: '{"x":5}' },
      { id: 'call_2', name: 'type', arguments: '{}' },
    ]);
  });

  test('takes chunks without choices, without delta and with nulls', () => {
    const answer = emptyAnswer();
    const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
    expect(applyChunk(answer, { id: 'x', choices: [], usage })).toBe(false);
    expect(applyChunk(answer, { id: 'x', choices: [{ index: 0, delta: null }] })).toBe(false);
    expect(applyChunk(answer, chunk({ content: null, tool_calls: null }))).toBe(false);
    expect(applyChunk(answer, { id: 'x', choices: [{ index: 1, delta: { content: 'another choice' } }] })).toBe(false);
    expect(answer).toMatchObject({ content: '', usage });
  });
});
