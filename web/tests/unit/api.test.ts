import { describe, expect, test } from 'vitest';
import { apiError } from '../../src/api/errors';
import { parseEvent } from '../../src/api/protocol';
import { SseParser } from '../../src/api/sse';
import { en } from '../../src/i18n/en';

describe('errors', () => {
  test.each([
    [401, undefined, 'key'],
    [429, undefined, 'busy'],
    [503, undefined, 'starting'],
    [413, undefined, 'picture_size'],
    [500, undefined, 'server'],
    [404, 'model_not_found', 'model'],
    [400, 'context_length_exceeded', 'too_long'],
    [400, 'invalid_image', 'picture'],
    [400, 'something_else', 'request'],
  ])('status %i, code %s → %s', (status, code, kind) => {
    const error = apiError({ message: 'because', ...(code ? { code } : {}) }, status);
    expect(error).toMatchObject({ kind, detail: 'because' });
    expect(Object.keys(en)).toContain(`error.${kind}`);
    expect(Object.keys(en)).toContain(`error.${kind}.do`);
  });
  test('a number as code is the status', () => {
    expect(apiError({ message: '', code: 429 }).kind).toBe('busy');
  });
  test('no body at all', () => {
    expect(apiError(undefined, 502).kind).toBe('server');
  });
});

describe('server-sent events', () => {
  const stream = ': ping\n\ndata: {"a":1}\n\ndata: {"b":"\\n"}\n\ndata: [DONE]\n\n';
  test('cut anywhere', () => {
    for (let cut = 0; cut <= stream.length; ++cut) {
      const parser = new SseParser();
      const events = [...parser.push(stream.slice(0, cut)), ...parser.push(stream.slice(cut))];
      expect(events).toEqual(['{"a":1}', '{"b":"\\n"}', '[DONE]']);
    }
  });
  test('line ends of either kind', () => {
    expect(new SseParser().push('data: x\r\n\r\n')).toEqual(['x']);
  });
});

test('frames that are no events are dropped', () => {
  for (const text of ['', 'null', '5', '[]', '{}', '{"type":5}', 'nonsense']) expect(parseEvent(text)).toBeNull();
  expect(parseEvent('{"type":"clock","t0":1,"server_ms":2}')).toMatchObject({ type: 'clock' });
});
