import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { ApiError } from '../../src/api/errors';
import type { ServerEvent } from '../../src/api/protocol';
import { Socket, type SocketState } from '../../src/api/socket';
import { Drafter } from '../../src/chat/drafter';

// A WebSocket without a network.
class FakeWebSocket {
  static readonly OPEN = 1;
  static all: FakeWebSocket[] = [];
  readyState = 0;
  bufferedAmount = 0;
  binaryType = '';
  sent: (string | Blob)[] = [];
  onopen?: () => void;
  onclose?: () => void;
  onmessage?: (message: { data: unknown }) => void;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    if (protocols.some((name) => name.includes(' '))) throw new SyntaxError('not a token');
    FakeWebSocket.all.push(this);
  }
  send(data: string | Blob) {
    this.sent.push(data);
  }
  close() {
    this.readyState = 3;
  }
  open() {
    this.readyState = 1;
    this.onopen!();
  }
  drop() {
    this.readyState = 3;
    this.onclose!();
  }
  say(event: object) {
    this.onmessage!({ data: JSON.stringify(event) });
  }
  messages() {
    return this.sent.filter((data): data is string => typeof data === 'string').map((text) => JSON.parse(text));
  }
  blobs() {
    return this.sent.filter((data): data is Blob => typeof data !== 'string');
  }
}

const latest = () => FakeWebSocket.all[FakeWebSocket.all.length - 1]!;
let states: SocketState[];
let key = '';
let why: 'closed' | 'refused' | 'loading' = 'closed';

function connected(): Socket {
  const socket = new Socket({
    url: 'ws://x/v1/chat/ws',
    apiKey: () => key,
    whyClosed: async () => why,
    onState: (state) => states.push(state),
  });
  socket.connect();
  return socket;
}

function recorder() {
  const events: ServerEvent[] = [];
  const failures: ApiError[] = [];
  return { events, failures, event: (event: ServerEvent) => events.push(event), failed: (error: ApiError) => failures.push(error) };
}

const request = { messages: [] };

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('WebSocket', FakeWebSocket);
  FakeWebSocket.all = [];
  states = [];
  key = '';
  why = 'closed';
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('the connection', () => {
  test('offers its protocol, and the key if there is one', () => {
    connected();
    expect(latest().protocols).toEqual(['glimpse.v1']);
    key = 'secret';
    connected();
    expect(latest().protocols).toEqual(['glimpse.v1', 'glimpse-key.secret']);
    key = 'a key/of = ключ?';
    connected();
    expect(latest().protocols).toEqual(['glimpse.v1', 'glimpse-key64.YSBrZXkvb2YgPSDQutC70Y7Rhz8']);
  });

  test('hands events to who asked, and only those', () => {
    const socket = connected();
    latest().open();
    const [a, b] = [recorder(), recorder()];
    expect(socket.send({ type: 'chat', id: 'a', request }, a)).toBe(true);
    socket.send({ type: 'chat', id: 'b', request }, b);
    latest().say({ type: 'chat.done', id: 'b', cancelled: false });
    latest().say({ type: 'chat.done', id: 'nobody', cancelled: false });
    latest().say({ type: 'error', id: 'a', status: 429, error: { message: 'full' } });
    latest().say({ type: 'chat.done', id: 'a', cancelled: false }); // an error was the end
    expect(a.events).toEqual([]);
    expect(a.failures.map(({ kind }) => kind)).toEqual(['busy']);
    expect(b.events).toHaveLength(1);
  });

  test('comes back by itself, ever more slowly; what was under way has failed', async () => {
    const socket = connected();
    latest().open();
    const a = recorder();
    socket.send({ type: 'chat', id: 'a', request }, a);
    latest().drop();
    expect(a.failures.map(({ kind }) => kind)).toEqual(['interrupted']);
    expect(socket.send({ type: 'chat', id: 'b', request }, a)).toBe(false);
    const gaps: number[] = [];
    for (let attempt = 0; attempt < 6; ++attempt) {
      const count = FakeWebSocket.all.length;
      let waited = 0;
      for (; FakeWebSocket.all.length === count && waited < 20_000; waited += 50) await vi.advanceTimersByTimeAsync(50);
      gaps.push(waited);
      latest().drop();
    }
    expect(gaps).toEqual([250, 500, 1000, 2000, 4000, 4000]);
    await vi.advanceTimersByTimeAsync(5000);
    latest().open();
    expect(socket.state).toBe('open');
  });

  test('a refused key is told apart from a dead server, and not tried again', async () => {
    why = 'refused';
    const socket = connected();
    latest().drop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(socket.state).toBe('refused');
    expect(FakeWebSocket.all).toHaveLength(1);
  });

  test('a server that is loading its model is asked often, and its state stays one', async () => {
    why = 'loading';
    const socket = connected();
    for (let look = 0; look < 8; ++look) {
      latest().drop();
      await vi.advanceTimersByTimeAsync(500);
    }
    expect(socket.state).toBe('loading');
    expect(FakeWebSocket.all).toHaveLength(9);
    expect(states).toEqual(['connecting', 'closed', 'loading']);
    latest().open();
    expect(socket.state).toBe('open');
  });

  test('a server that ends while it loads is a dead one', async () => {
    why = 'loading';
    const socket = connected();
    latest().drop();
    await vi.advanceTimersByTimeAsync(500);
    why = 'closed';
    latest().drop();
    await vi.advanceTimersByTimeAsync(0);
    expect(socket.state).toBe('closed');
  });

  test('joins the clocks', () => {
    const socket = connected();
    latest().open();
    vi.advanceTimersByTime(0);
    const { t0 } = latest().messages().find(({ type }) => type === 'clock');
    latest().say({ type: 'clock', t0, server_ms: t0 + 1000 });
    expect(socket.clock.offset).toBeCloseTo(-1000, 0);
  });
});

describe('a picture', () => {
  const MIB = 1024 * 1024;
  const picture = (id: string, size: number) => ({ id, blob: new Blob([new Uint8Array(size)]), name: `${id}.png` });
  const watcher = () => ({ ...recorder(), begin: vi.fn(), progress: vi.fn(), sent: vi.fn() });

  test('is announced, cut into frames, and named by its id once all of it is on its way', async () => {
    const socket = connected();
    latest().open();
    const p = watcher();
    socket.sendPicture(picture('p', 2_600_000), p);
    await vi.advanceTimersByTimeAsync(0);
    expect(latest().messages().filter(({ type }) => type === 'image')).toEqual([
      { type: 'image', id: 'p', size: 2_600_000, filename: 'p.png' },
    ]);
    expect(latest().blobs().map(({ size }) => size)).toEqual([MIB, MIB, 2_600_000 - 2 * MIB]);
    expect(p.sent).toHaveBeenCalledOnce();
    expect(p.progress).toHaveBeenLastCalledWith(2_600_000);
  });

  test('waits while the browser has much to send, goes on later, and tells how far it is', async () => {
    const socket = connected();
    latest().open();
    const p = watcher();
    latest().bufferedAmount = 2_000_000;
    socket.sendPicture(picture('p', 200_000), p);
    await vi.advanceTimersByTimeAsync(100);
    expect(latest().blobs()).toHaveLength(0);
    expect(p.sent).not.toHaveBeenCalled();
    latest().bufferedAmount = 100_000;
    await vi.advanceTimersByTimeAsync(40);
    expect(p.sent).toHaveBeenCalled();
    expect(p.progress).toHaveBeenLastCalledWith(100_000);
    latest().bufferedAmount = 0;
    await vi.advanceTimersByTimeAsync(40);
    expect(p.progress).toHaveBeenLastCalledWith(200_000);
  });

  test('two pictures go one after the other: frames belong to the one announced last', async () => {
    const socket = connected();
    latest().open();
    socket.sendPicture(picture('p', 1_300_000), watcher());
    socket.sendPicture(picture('q', 10), watcher());
    await vi.advanceTimersByTimeAsync(0);
    const order = latest().sent.flatMap((data): (number | string)[] => (typeof data !== 'string' ? [data.size] : data.includes('"image"') ? ['image'] : []));
    expect(order).toEqual(['image', MIB, 1_300_000 - MIB, 'image', 10]);
  });

  test('that the server cannot read has failed; one without a connection too', async () => {
    const socket = connected();
    latest().open();
    const p = watcher();
    socket.sendPicture(picture('p', 10), p);
    await vi.advanceTimersByTimeAsync(0);
    latest().say({ type: 'image.failed', id: 'p', error: { message: 'no', code: 'invalid_image' } });
    expect(p.failures.map(({ kind }) => kind)).toEqual(['picture']);
    latest().drop();
    const q = watcher();
    socket.sendPicture(picture('q', 10), q);
    await vi.advanceTimersByTimeAsync(0);
    expect(q.failures.map(({ kind }) => kind)).toEqual(['offline']);
  });
});

test('drafts wait for a pause, are not repeated, and stop when the question is asked', async () => {
  const socket = connected();
  latest().open();
  const drafts = () => latest().messages().filter(({ type }) => type === 'draft').map(({ request: r }) => r.messages[0]);
  const drafter = new Drafter(socket);
  const text = (content: string) => () => ({ messages: [{ role: 'user' as const, content }] });
  drafter.schedule(text('W'));
  await vi.advanceTimersByTimeAsync(50);
  drafter.schedule(text('Wh'));
  await vi.advanceTimersByTimeAsync(500);
  drafter.schedule(text('Wh'));
  await vi.advanceTimersByTimeAsync(500);
  drafter.schedule(text('What'), 0);
  await vi.advanceTimersByTimeAsync(1);
  drafter.schedule(text('What?'));
  drafter.stop();
  await vi.advanceTimersByTimeAsync(500);
  expect(drafts().map(({ content }) => content)).toEqual(['Wh', 'What']);
});
