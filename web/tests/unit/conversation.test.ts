import { expect, test } from 'vitest';
import { emptyAnswer } from '../../src/answer/answer';
import { exportJson, exportMarkdown, newAnswerRecord, requestBody, titleOf, type TurnRecord } from '../../src/chat/conversation';
import { defaultParameters } from '../../src/chat/settings.svelte';

const cat = { id: 'p1', name: 'cat.png', width: 30, height: 20 };
const turns: TurnRecord[] = [
  { role: 'user', id: '1', text: 'What is\nthis?', pictures: [cat] },
  { role: 'assistant', id: '2', answer: { ...emptyAnswer(), content: 'A cat.', reasoning: 'Ears.' }, times: null, stopped: false, error: null },
  { role: 'user', id: '3', text: 'Colour?', pictures: [] },
];
const options = { model: 'mini', system: '', tools: '', thinking: false, parameters: defaultParameters() };
const address = ({ id }: { id: string }) => `file-${id}`;

test('the request holds the conversation, pictures before their text', () => {
  expect(requestBody(turns, options, address)).toEqual({
    model: 'mini',
    stream: true,
    stream_options: { include_usage: true },
    chat_template_kwargs: { enable_thinking: false },
    messages: [
      { role: 'user', content: [{ type: 'file', file: { file_id: 'file-p1' } }, { type: 'text', text: 'What is\nthis?' }] },
      { role: 'assistant', content: 'A cat.' },
      { role: 'user', content: 'Colour?' },
    ],
  });
});

test('parameters that are left to the model are not sent', () => {
  const parameters = { ...defaultParameters(), temperature: 0, max_tokens: 5 };
  const body = requestBody(turns, { ...options, model: '', system: 'Be brief.', thinking: true, parameters }, address);
  expect(body).toMatchObject({ temperature: 0, max_tokens: 5, chat_template_kwargs: { enable_thinking: true } });
  expect(body.messages[0]).toEqual({ role: 'system', content: 'Be brief.' });
  expect(Object.keys(body)).not.toContain('top_p');
  expect(Object.keys(body)).not.toContain('model');
});

test('tools go along when they are an array of definitions', () => {
  const tools = '[{"type": "function", "function": {"name": "f"}}]';
  expect(requestBody(turns, { ...options, tools }, address).tools).toEqual(JSON.parse(tools));
  for (const wrong of ['', ' ', '{}', '[1]', '[{']) {
    expect(requestBody(turns, { ...options, tools: wrong }, address)).not.toHaveProperty('tools');
  }
});

test('an answer that never began is not part of the next request', () => {
  const failed = [turns[0]!, newAnswerRecord('x'), turns[2]!];
  expect(requestBody(failed, options, address).messages.map(({ role }) => role)).toEqual(['user', 'user']);
});

test('title and exports', () => {
  expect(titleOf(turns)).toBe('What is this?');
  expect(titleOf([{ role: 'user', id: '1', text: '', pictures: [cat] }])).toBe('cat.png');
  expect(titleOf([])).toBe('');
  const conversation = { id: 'c', title: 'T', updated: 1, turns };
  expect(exportMarkdown(conversation, 'You', 'mini')).toBe(
    '# T\n\n## You\n\n*[cat.png, 30×20]*\n\nWhat is\nthis?\n\n## mini\n\n> Ears.\n\nA cat.\n\n## You\n\nColour?\n',
  );
  expect(JSON.parse(exportJson(conversation))).toEqual(conversation);
});
