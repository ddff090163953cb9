// The waterfall: page spans and server spans of one answer as bars on one axis, zero at Enter. Pure arithmetic; drawing
// is Waterfall.svelte.

import type { ServerLatency } from '../api/types';
import { arrivalOnPage, workBegin, type PageTimes } from './account';
import type { Trace } from './perfetto';

export interface Bar {
  start: number; // ms from Enter
  duration: number;
  cached: boolean;
  note?: string; // e.g. the picture's name
}

export interface Row {
  name: string; // a span name of docs/latency-account.md
  side: 'page' | 'server';
  bars: Bar[];
  total: number; // sum of the bars, ms
  exclusive: number | null; // the server's share of the critical path
}

const SERVER_ORDER = [
  'receive', 'decode_image', 'preprocess', 'vision', 'tokenize', 'queue', 'prefill', 'first_token', 'decode', 'stream',
];

const MAX_BARS = 400; // of a row

// `trace` is the server's own one, if it still has it: then each interval is drawn where it was; else the account's
// summary, one bar for each kind of span.
export function waterfallRows(times: PageTimes, latency: ServerLatency | null, trace: Trace | null = null): Row[] {
  const rows: Row[] = [];
  const page = (name: string, bars: Bar[]) => addRow(rows, name, 'page', bars, null);
  page('pick', times.pictures.map((p) => bar(p.pickBegin, p.pickEnd, times.enter, p.name)));
  page('upload', times.pictures.map((p) => bar(p.uploadBegin, p.uploadEnd, times.enter, p.name)));

  const byName = new Map<string, { bars: Bar[]; exclusive: number | null }>();
  const entry = (name: string) => {
    const known = byName.get(name) ?? { bars: [], exclusive: null };
    byName.set(name, known);
    return known;
  };
  // The server's events tell of each picture when it happens; the account of the answer repeats that work (negative
  // starts). A picture's own events are kept, the repetition is not.
  const told = new Set<string>();
  for (const picture of times.pictures) {
    for (const work of picture.server) {
      told.add(work.name);
      entry(work.name).bars.push({
        start: workBegin(work, times.clockOffset) - times.enter,
        duration: work.duration,
        cached: work.cached,
        note: picture.name,
      });
    }
  }
  if (latency) {
    const [arrival] = arrivalOnPage(times, latency);
    const detail = intervals(trace);
    for (const span of latency.spans) {
      const row = entry(span.name);
      if (span.exclusive_ms !== undefined) row.exclusive = (row.exclusive ?? 0) + span.exclusive_ms;
      const exact = detail.get(span.name);
      // An event comes when the server gets round to it; the trace says when the work really was.
      const early = exact?.some(([start]) => start < 0) ?? false;
      if (early) row.bars = row.bars.filter(({ cached }) => cached);
      for (const [start, duration] of exact ?? [[span.start_ms, span.duration_ms] as const]) {
        if (start < 0 && told.has(span.name) && (!early || row.bars.some(({ cached }) => cached))) continue;
        row.bars.push({ start: arrival + start - times.enter, duration, cached: false });
      }
    }
  }
  // Prompt tokens from the prefix cache take no time: a mark where the others begin.
  const prefill = byName.get('prefill');
  if (prefill && prefill.bars.length > 0 && latency?.cached_tokens) {
    prefill.bars.unshift({ start: Math.min(...prefill.bars.map((b) => b.start)), duration: 0, cached: true });
  }
  const names = [...byName.keys()].sort((a, b) => order(a) - order(b));
  for (const name of names) addRow(rows, name, 'server', byName.get(name)!.bars, byName.get(name)!.exclusive);
  page('render', times.renders.map(([from, to]) => bar(from, to, times.enter)));
  return rows;
}

// The trace's spans by name: [start, duration] in ms from the arrival. Neighbours are joined where they are too many to see.
function intervals(trace: Trace | null): Map<string, [number, number][]> {
  const found = new Map<string, [number, number][]>();
  for (const { ph, name, ts, dur } of trace?.traceEvents ?? []) {
    if (ph !== 'X' || ts === undefined || dur === undefined || !SERVER_ORDER.includes(name)) continue;
    const list = found.get(name) ?? [];
    list.push([ts / 1000, dur / 1000]);
    found.set(name, list);
  }
  for (const [name, list] of found) {
    list.sort((a, b) => a[0] - b[0]);
    const most = Math.ceil(list.length / MAX_BARS);
    if (most === 1) continue;
    const joined: [number, number][] = [];
    for (let i = 0; i < list.length; i += most) {
      const last = list[Math.min(i + most, list.length) - 1]!;
      joined.push([list[i]![0], last[0] + last[1] - list[i]![0]]);
    }
    found.set(name, joined);
  }
  return found;
}

function order(name: string): number {
  const index = SERVER_ORDER.indexOf(name);
  return index < 0 ? SERVER_ORDER.length : index;
}

function bar(from: number, to: number, enter: number, note?: string): Bar {
  return { start: from - enter, duration: Math.max(0, to - from), cached: false, ...(note ? { note } : {}) };
}

function addRow(rows: Row[], name: string, side: Row['side'], bars: Bar[], exclusive: number | null): void {
  const drawn = bars.filter((b) => Number.isFinite(b.start) && Number.isFinite(b.duration));
  if (drawn.length === 0) return;
  rows.push({ name, side, bars: drawn, exclusive, total: drawn.reduce((sum, b) => sum + b.duration, 0) });
}

// ---- the axis

// Time → position in 0..1. Idle stretches (the user was typing, or went for coffee) are cut short, or the work would be
// invisible beside them; each cut is drawn as a break that says how long it was.
export interface Axis {
  position(ms: number): number;
  ticks: number[]; // ms, at round values, zero among them
  breaks: { at: number; ms: number }[]; // position 0..1 of the middle, real length
}

const IDLE_SHARE = 0.15; // an idle stretch longer than this share of the busy time is cut down to it
const MIN_IDLE_MS = 20;

export function makeAxis(rows: Row[]): Axis {
  const spans = rows.flatMap((row) => row.bars.map((b) => [b.start, b.start + b.duration] as [number, number]));
  spans.push([0, 0]);
  const busy = merge(spans);
  const busyMs = busy.reduce((sum, [from, to]) => sum + to - from, 0);
  const shown = Math.max(MIN_IDLE_MS, busyMs * IDLE_SHARE);

  // Pieces of constant speed: [from, to) of real time take `width` ms of the drawn axis.
  const pieces: { from: number; to: number; width: number; cut: boolean }[] = [];
  busy.forEach(([from, to], index) => {
    pieces.push({ from, to, width: to - from, cut: false });
    const next = busy[index + 1];
    if (next) {
      const idle = next[0] - to;
      pieces.push({ from: to, to: next[0], width: Math.min(idle, shown), cut: idle > shown });
    }
  });
  const width = Math.max(1e-6, pieces.reduce((sum, piece) => sum + piece.width, 0));

  const position = (ms: number): number => {
    let passed = 0;
    for (const piece of pieces) {
      if (ms <= piece.to) {
        const length = piece.to - piece.from;
        const share = length > 0 ? Math.max(0, (ms - piece.from) / length) : 0;
        return (passed + share * piece.width) / width;
      }
      passed += piece.width;
    }
    return 1;
  };
  return {
    position,
    breaks: pieces
      .filter((piece) => piece.cut)
      .map((piece) => ({ at: position((piece.from + piece.to) / 2), ms: piece.to - piece.from })),
    ticks: ticksOf(pieces.filter((piece) => !piece.cut), width),
  };
}

function merge(spans: [number, number][]): [number, number][] {
  const sorted = [...spans].sort((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const [from, to] of sorted) {
    const last = merged[merged.length - 1];
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

function ticksOf(pieces: { from: number; to: number }[], width: number): number[] {
  const step = niceStep(width / 6);
  const ticks = new Set<number>([0]);
  for (const { from, to } of pieces) {
    for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) ticks.add(tick === 0 ? 0 : round(tick));
  }
  return [...ticks].sort((a, b) => a - b);
}

const round = (value: number) => Number(value.toPrecision(10));

export function niceStep(atLeast: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(atLeast, 1e-3)));
  for (const factor of [1, 2, 5, 10]) {
    if (factor * power >= atLeast) return factor * power;
  }
  return 10 * power;
}
