import { describe, expect, test } from 'vitest';
import { figures, newPageTimes, recordRender, type PictureTimes } from '../../src/account/account';
import { buildTrace } from '../../src/account/perfetto';
import { makeAxis, niceStep, waterfallRows, type Row } from '../../src/account/waterfall';
import type { ServerLatency } from '../../src/api/types';
import { ClockSync } from '../../src/api/clock';

const picture: PictureTimes = {
  name: 'cat.png',
  pickBegin: 1000,
  pickEnd: 1012,
  uploadBegin: 1003,
  uploadEnd: 1008,
  bytes: 1000,
  originalBytes: 1000,
  shrunk: null,
  cached: false,
  server: [
    { name: 'decode_image', endServer: 109, endPage: 1010, duration: 2, cached: false },
    { name: 'vision', endServer: 129, endPage: 1031, duration: 20, cached: false },
  ],
};

const latency: ServerLatency = {
  arrival_ms: 2101, // page clock 3001
  total_ms: 40,
  spans: [
    { name: 'vision', start_ms: -1990, duration_ms: 20, exclusive_ms: 0 },
    { name: 'prefill', start_ms: 1, duration_ms: 9, exclusive_ms: 9 },
    { name: 'decode', start_ms: 11, duration_ms: 28, exclusive_ms: 27 },
  ],
};

function times() {
  const t = newPageTimes(3000, 900, [picture]); // page = server + 900
  t.first = 3012;
  t.last = 3040;
  recordRender(t, 3012, 3020);
  recordRender(t, 3018, 3036);
  recordRender(t, 3040, 3052);
  return t;
}

const row = (rows: Row[], name: string) => rows.find((r) => r.name === name)!;

describe('the figures of an answer', () => {
  test('first word is what was painted, the rate is between the first and the last token', () => {
    const f = figures(times(), 8);
    expect(f.ttftMs).toBe(20);
    expect(f.totalMs).toBe(52);
    expect(f.msPerToken).toBe(4);
    expect(f.tokensPerSecond).toBe(250);
  });
  test('one token has no rate; nothing painted has no first word', () => {
    expect(figures(times(), 1).msPerToken).toBeNull();
    expect(figures(newPageTimes(0, null, []), null)).toMatchObject({ ttftMs: null, totalMs: null, msPerToken: null });
  });
  test('overlapping paints are one bar', () => {
    expect(times().renders).toEqual([[3012, 3036], [3040, 3052]]);
  });
});

describe('the waterfall', () => {
  test('puts page and server on one axis with zero at Enter', () => {
    const rows = waterfallRows(times(), latency);
    expect(rows.map((r) => r.name)).toEqual(['pick', 'upload', 'decode_image', 'vision', 'prefill', 'decode', 'render']);
    expect(row(rows, 'pick').bars).toEqual([{ start: -2000, duration: 12, cached: false, note: 'cat.png' }]);
    expect(row(rows, 'decode_image').bars[0]!.start).toBe(109 + 900 - 2 - 3000);
    expect(row(rows, 'prefill')).toMatchObject({ side: 'server', exclusive: 9, bars: [{ start: 2, duration: 9 }] });
    expect(row(rows, 'render').bars[0]).toMatchObject({ start: 12, duration: 24 });
  });
  test('work on a picture that its events have told is not drawn twice', () => {
    expect(row(waterfallRows(times(), latency), 'vision').bars).toHaveLength(1);
  });
  test('draws each interval of the server’s trace where it was', () => {
    const step = (ts: number) => ({ name: 'decode', ph: 'X', ts, dur: 4000, pid: 1, tid: 9 });
    const other = { name: 'step', ph: 'X', ts: 0, dur: 1, pid: 1, tid: 100 };
    const trace = { traceEvents: [step(11_000), step(16_000), step(21_000), other] };
    const decode = row(waterfallRows(times(), latency, trace), 'decode');
    expect(decode.bars.map((b) => [b.start, b.duration])).toEqual([[12, 4], [17, 4], [22, 4]]);
    expect(decode.exclusive).toBe(27);
  });
  test('a row has a bounded number of bars', () => {
    const traceEvents = Array.from({ length: 5000 }, (_, i) => ({ name: 'decode', ph: 'X', ts: i * 5000, dur: 4000, pid: 1, tid: 9 }));
    const { bars } = row(waterfallRows(times(), latency, { traceEvents }), 'decode');
    expect(bars.length).toBeLessThanOrEqual(400);
    expect(bars[bars.length - 1]!.start + bars[bars.length - 1]!.duration).toBeCloseTo(1 + 4999 * 5 + 4, 6);
  });
  test('knows from the trace when work on a picture really was', () => {
    const trace = { traceEvents: [{ name: 'vision', ph: 'X', ts: -1_995_000, dur: 20_000, pid: 1, tid: 6 }] };
    expect(row(waterfallRows(times(), latency, trace), 'vision').bars).toEqual([
      { start: 1 - 1995, duration: 20, cached: false },
    ]);
  });
  test('what came from the prefix cache is a mark before the rest of the prompt', () => {
    const { bars, total } = row(waterfallRows(times(), { ...latency, cached_tokens: 80 }), 'prefill');
    expect(bars).toEqual([
      { start: 2, duration: 0, cached: true },
      { start: 2, duration: 9, cached: false },
    ]);
    expect(total).toBe(9);
  });
  test('without a common clock the server starts at Enter, and never before it', () => {
    const t = { ...times(), clockOffset: null };
    expect(row(waterfallRows(t, latency), 'prefill').bars[0]!.start).toBe(1);
    const early = { ...times(), clockOffset: 800 }; // would put the arrival 99 ms before Enter
    expect(row(waterfallRows(early, latency), 'prefill').bars[0]!.start).toBe(1);
  });
  test('spans that never happened have no row', () => {
    const never = { ...picture, uploadBegin: NaN, uploadEnd: NaN, server: [] };
    expect(waterfallRows(newPageTimes(3000, 900, [never]), null).map((r) => r.name)).toEqual(['pick']);
  });
});

describe('the axis', () => {
  const rows = waterfallRows(times(), latency);
  const axis = makeAxis(rows);
  test('runs from the first span to the last and keeps order', () => {
    expect(axis.position(-2000)).toBe(0);
    expect(axis.position(52)).toBeCloseTo(1, 12);
    let previous = -1;
    for (let ms = -2000; ms <= 52; ms += 0.5) {
      const position = axis.position(ms);
      expect(position).toBeGreaterThanOrEqual(previous);
      previous = position;
    }
  });
  test('cuts the idle stretch short and says how long it was', () => {
    expect(axis.breaks).toHaveLength(1);
    expect(axis.breaks[0]!.ms).toBeCloseTo(2000 - 31 + 2, 0);
    expect(axis.position(0) - axis.position(-1969)).toBeLessThan(0.35);
  });
  test('keeps scale within the busy parts', () => {
    const one = axis.position(2) - axis.position(1);
    expect(axis.position(40) - axis.position(39)).toBeCloseTo(one, 10);
    expect(axis.position(-1990) - axis.position(-1991)).toBeCloseTo(one, 10);
  });
  test('has zero among its round ticks', () => {
    expect(axis.ticks).toContain(0);
    expect(axis.ticks.every((tick) => tick === Number(tick.toPrecision(4)))).toBe(true);
  });
  test('of nothing is harmless', () => {
    expect(makeAxis([]).position(0)).toBeGreaterThanOrEqual(0);
    expect(makeAxis([]).ticks).toEqual([0]);
  });
  test('steps are 1, 2, 5 times a power of ten', () => {
    expect([0.3, 1, 1.1, 3, 7, 12, 400].map(niceStep)).toEqual([0.5, 1, 2, 5, 10, 20, 500]);
  });
});

describe('the trace file', () => {
  test('has the page and, moved to its clock, the server’s own trace', () => {
    const server = { traceEvents: [{ name: 'step', ph: 'X', ts: 9_000, dur: 5000, pid: 1, tid: 1 }] };
    const { traceEvents } = buildTrace(times(), latency, server);
    expect(traceEvents.find((e) => e.name === 'step')!.ts).toBeCloseTo(10_000, 6); // it arrived 1 ms after Enter
    expect(traceEvents.some((e) => e.name === 'prefill')).toBe(false); // the server's trace has it
    expect(traceEvents.find((e) => e.name === 'pick' && e.ph === 'X')).toMatchObject({ ts: -2_000_000, dur: 12_000 });
  });
  test('falls back to the account’s spans', () => {
    const { traceEvents } = buildTrace(times(), latency, null);
    expect(traceEvents.find((e) => e.name === 'prefill' && e.ph === 'X')).toMatchObject({ ts: 2000, dur: 9000 });
  });
});

describe('the common clock', () => {
  test('believes the shortest round trip', () => {
    const clock = new ClockSync();
    expect(clock.offset).toBeNull();
    clock.sample(100, 50, 120); // middle 110
    expect(clock.offset).toBe(60);
    clock.sample(200, 140, 202); // shorter: middle 201
    expect(clock.offset).toBe(61);
    clock.sample(300, 200, 390); // much longer: ignored
    expect(clock.offset).toBe(61);
    clock.reset();
    expect(clock.offset).toBeNull();
  });
  test('ignores nonsense', () => {
    const clock = new ClockSync();
    clock.sample(10, NaN, 12);
    clock.sample(12, 5, 10);
    expect(clock.offset).toBeNull();
  });
});
