// The trace file: Chrome's trace-event JSON, which Perfetto (ui.perfetto.dev) opens. The page's spans are one process,
// the server's trace (/v1/traces/{id}, engine steps included) another, on one clock.

import type { ServerLatency } from '../api/types';
import { arrivalOnPage, type PageTimes } from './account';
import { waterfallRows } from './waterfall';

export interface TraceEvent {
  name: string;
  ph: string;
  ts?: number; // microseconds
  dur?: number;
  pid: number | string;
  tid: number | string;
  args?: Record<string, unknown>;
  cat?: string;
}

export interface Trace {
  traceEvents: TraceEvent[];
  displayTimeUnit?: string;
  [key: string]: unknown;
}

const PAGE = 1_000_001; // unlikely to be a process id of the server's trace

// `server` is the server's own trace or null; then the spans of the answer's account stand in for it. Times of the
// result are microseconds from Enter on the page's clock.
export function buildTrace(times: PageTimes, latency: ServerLatency | null, server: Trace | null): Trace {
  const events: TraceEvent[] = [{ name: 'process_name', ph: 'M', pid: PAGE, tid: 0, args: { name: 'page' } }];
  waterfallRows(times, latency).forEach((row, index) => {
    if (row.side === 'server' && server) return;
    const pid = row.side === 'page' ? PAGE : PAGE + 1;
    events.push({ name: 'thread_name', ph: 'M', pid, tid: index, args: { name: row.name } });
    for (const bar of row.bars) {
      events.push({
        name: row.name,
        cat: row.side,
        ph: 'X',
        ts: bar.start * 1000,
        dur: bar.duration * 1000,
        pid,
        tid: index,
        args: { cached: bar.cached, ...(bar.note ? { picture: bar.note } : {}) },
      });
    }
  });
  if (server) events.push(...shifted(server, times, latency));
  else events.push({ name: 'process_name', ph: 'M', pid: PAGE + 1, tid: 0, args: { name: 'server' } });
  return { traceEvents: events, displayTimeUnit: 'ms' };
}

// The server's trace counts from the request's arrival; moved so that zero is Enter.
function shifted(server: Trace, times: PageTimes, latency: ServerLatency | null): TraceEvent[] {
  if (!Array.isArray(server.traceEvents)) return [];
  const shift = latency ? (arrivalOnPage(times, latency)[0] - times.enter) * 1000 : 0;
  return server.traceEvents.map((event) => (event.ts === undefined ? event : { ...event, ts: event.ts + shift }));
}
