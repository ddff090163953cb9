// One answer's latency account as the page keeps it: what the page itself did and when, joined with the spans that the
// server reports. Page times are performance.now() milliseconds. Span names: docs/latency-account.md.

import type { ServerLatency } from '../api/types';

// A piece of the server's work on a picture, as its event told it. The common clock becomes better with every round trip,
// so times stay on the clock they were read from until they are drawn.
export interface PictureWork {
  name: string;
  endServer: number | null; // on the server's clock
  endPage: number; // when the page heard of it
  duration: number;
  cached: boolean;
}

export interface PictureTimes {
  name: string;
  pickBegin: number; // chosen, dropped, pasted
  pickEnd: number; // thumbnail painted
  uploadBegin: number; // first byte handed to the socket
  uploadEnd: number; // "received" arrived
  bytes: number; // as sent
  originalBytes: number;
  shrunk: 'limit' | 'slow' | null;
  cached: boolean; // the server had this picture's embeddings already
  server: PictureWork[];
}

export interface PageTimes {
  enter: number; // the question was sent
  first: number | null; // first visible text received
  firstPaint: number | null; // and on the screen
  last: number | null; // last visible text received
  end: number | null; // last paint
  renders: [number, number][]; // receipt → paint, overlapping ones merged
  clockOffset: number | null; // page ms = server ms + offset
  pictures: PictureTimes[]; // of this question's message
}

export interface Figures {
  ttftMs: number | null; // Enter → first text painted
  msPerToken: number | null; // mean gap between tokens after the first
  tokensPerSecond: number | null;
  totalMs: number | null; // Enter → last paint
  tokens: number | null;
}

const MAX_RENDERS = 2000;

export function newPageTimes(enter: number, clockOffset: number | null, pictures: PictureTimes[]): PageTimes {
  return { enter, first: null, firstPaint: null, last: null, end: null, renders: [], clockOffset, pictures };
}

// Text received at `received` was on the screen at `painted`.
export function recordRender(times: PageTimes, received: number, painted: number): void {
  times.firstPaint ??= painted;
  times.end = painted;
  const previous = times.renders[times.renders.length - 1];
  if (previous && (received <= previous[1] || times.renders.length >= MAX_RENDERS)) {
    previous[1] = Math.max(previous[1], painted);
  } else {
    times.renders.push([received, painted]);
  }
}

export function workBegin(work: PictureWork, clockOffset: number | null): number {
  const end = work.endServer !== null && clockOffset !== null ? work.endServer + clockOffset : work.endPage;
  return end - work.duration;
}

export function figures(times: PageTimes, tokens: number | null): Figures {
  const ttftMs = times.firstPaint === null ? null : times.firstPaint - times.enter;
  const totalMs = times.end === null ? null : times.end - times.enter;
  let msPerToken: number | null = null;
  if (tokens !== null && tokens > 1 && times.first !== null && times.last !== null && times.last > times.first) {
    msPerToken = (times.last - times.first) / (tokens - 1);
  }
  return { ttftMs, totalMs, tokens, msPerToken, tokensPerSecond: msPerToken ? 1000 / msPerToken : null };
}

// Where the request's arrival at the server lies on the page's clock. Without a common clock it is taken as Enter; the
// second value says so.
export function arrivalOnPage(times: PageTimes, latency: ServerLatency): [number, boolean] {
  if (latency.arrival_ms !== undefined && times.clockOffset !== null) {
    // A request cannot arrive before it is sent; what the offset is wrong by is at most half a round trip.
    return [Math.max(times.enter, latency.arrival_ms + times.clockOffset), true];
  }
  return [times.enter, false];
}
