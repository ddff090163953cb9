import { expect, test } from 'vitest';
import { bucketDifference, buckets, parseMetrics, quantile, total } from '../../src/live/prometheus';
import { snapshot, ttftBetween } from '../../src/live/snapshot';

const TEXT = `# HELP x y
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{model_name="a b",le="0.01"} 2
vllm:time_to_first_token_seconds_bucket{model_name="a b",le="0.02"} 4
vllm:time_to_first_token_seconds_bucket{model_name="a b",le="+Inf"} 4
vllm:num_requests_running{model_name="x",engine="0"} 3
vllm:num_requests_running{model_name="y",engine="1"} 1 1700000000
vllm:prefix_cache_hits_total 30
vllm:prefix_cache_queries_total 40
process_cpu_seconds_total 1.5e1
not a metric line
`;

test('reads the text format', () => {
  const metrics = parseMetrics(TEXT);
  expect(total(metrics, 'vllm:num_requests_running')).toBe(4);
  expect(total(metrics, 'absent')).toBeNull();
  expect(buckets(metrics, 'vllm:time_to_first_token_seconds')).toEqual([[0.01, 2], [0.02, 4], [Infinity, 4]]);
});

test('quantiles are those of histogram_quantile', () => {
  const counts: [number, number][] = [[0.01, 2], [0.02, 4], [Infinity, 4]];
  expect(quantile(0.5, counts)).toBeCloseTo(0.01, 10);
  expect(quantile(0.75, counts)).toBeCloseTo(0.015, 10);
  expect(quantile(1, counts)).toBeCloseTo(0.02, 10);
  expect(quantile(0.5, [[1, 0], [Infinity, 0]])).toBeNull();
  expect(quantile(0.5, [[1, 0], [Infinity, 5]])).toBe(1); // beyond the last bound: that bound
  expect(quantile(0.5, [])).toBeNull();
});

test('the figures of a stretch are the difference of two readings', () => {
  const now: [number, number][] = [[0.01, 5], [0.02, 9], [Infinity, 9]];
  expect(bucketDifference(now, [[0.01, 2], [0.02, 4], [Infinity, 4]])).toEqual([[0.01, 3], [0.02, 5], [Infinity, 5]]);
});

test('a snapshot takes /load first, /metrics else, and leaves out what is nowhere', () => {
  const first = snapshot({ running: 2 }, TEXT, null, 1000);
  expect(first).toMatchObject({ running: 2, prefixHitShare: 0.75, cpuShare: null, gpuShare: null, ramBytes: null });
  const later = TEXT.replace('1.5e1', '15.5').replace('le="0.02"} 4', 'le="0.02"} 8').replace('le="+Inf"} 4', 'le="+Inf"} 8');
  const second = snapshot({}, later, first, 2000);
  expect(second).toMatchObject({ running: 4, cpuShare: 0.5 });
  expect(ttftBetween(second, first)!.p50).toBeCloseTo(15, 6);
  expect(ttftBetween(first, first)).toBeNull();
  const gpu = { memory_used_bytes: 3, memory_total_bytes: 80, load_percent: 25 };
  expect(snapshot({ gpu }, TEXT, null, 1000)).toMatchObject({ gpuShare: 0.25, gpuBytes: 3, gpuTotalBytes: 80 });
  expect(snapshot({ gpu: { ...gpu, load_percent: undefined } }, TEXT, null, 1000)).toMatchObject({ gpuShare: null });
});
