// The live panel's figures from /load and /metrics. Whatever a server does not report stays null and is not shown.

import { bucketDifference, buckets, parseMetrics, quantile, total, type Metrics } from './prometheus';

export interface Snapshot {
  at: number; // performance.now()
  running: number | null;
  waiting: number | null;
  kvShare: number | null; // 0..1
  prefixHitShare: number | null;
  visionHitShare: number | null;
  cpuShare: number | null; // of one core; 1.5 = one and a half cores
  ramBytes: number | null;
  gpuShare: number | null;
  gpuBytes: number | null;
  gpuTotalBytes: number | null;
  ttft: [number, number][]; // cumulative histogram, seconds
  cpuSeconds: number | null;
}

const TTFT = 'vllm:time_to_first_token_seconds';

export function snapshot(load: Record<string, unknown>, metricsText: string, previous: Snapshot | null, at: number): Snapshot {
  const metrics = parseMetrics(metricsText);
  const cpuSeconds = total(metrics, 'process_cpu_seconds_total');
  const gpu = record(load['gpu']);
  return {
    at,
    running: number(load['running']) ?? total(metrics, 'vllm:num_requests_running'),
    waiting: number(load['waiting']) ?? total(metrics, 'vllm:num_requests_waiting'),
    kvShare: number(load['kv_cache_usage']) ?? total(metrics, 'vllm:kv_cache_usage_perc'),
    prefixHitShare: share(metrics, 'vllm:prefix_cache_hits_total', 'vllm:prefix_cache_queries_total'),
    visionHitShare: share(metrics, 'vllm:mm_cache_hits_total', 'vllm:mm_cache_queries_total'),
    cpuShare: percent(load['cpu_percent']) ?? cpuShare(cpuSeconds, at, previous),
    ramBytes: number(load['rss_bytes']) ?? total(metrics, 'process_resident_memory_bytes'),
    gpuShare: percent(gpu?.['load_percent']) ?? number(gpu?.['load']),
    gpuBytes: number(gpu?.['memory_used_bytes']) ?? number(gpu?.['memory_used']),
    gpuTotalBytes: number(gpu?.['memory_total_bytes']) ?? number(gpu?.['memory_total']),
    ttft: buckets(metrics, TTFT),
    cpuSeconds,
  };
}

// p50 and p95 in ms of what came between two snapshots; null without requests in between.
export function ttftBetween(now: Snapshot, before: Snapshot): { p50: number; p95: number } | null {
  const difference = bucketDifference(now.ttft, before.ttft);
  const p50 = quantile(0.5, difference);
  const p95 = quantile(0.95, difference);
  return p50 === null || p95 === null ? null : { p50: p50 * 1000, p95: p95 * 1000 };
}

function share(metrics: Metrics, hits: string, queries: string): number | null {
  const all = total(metrics, queries);
  const found = total(metrics, hits);
  return all === null || found === null || all === 0 ? null : found / all;
}

function cpuShare(seconds: number | null, at: number, previous: Snapshot | null): number | null {
  if (seconds === null || previous?.cpuSeconds == null || at <= previous.at) return null;
  return Math.max(0, seconds - previous.cpuSeconds) / ((at - previous.at) / 1000);
}

function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function percent(value: unknown): number | null {
  const known = number(value);
  return known === null ? null : known / 100;
}

function record(value: unknown): Record<string, unknown> | null {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
}
