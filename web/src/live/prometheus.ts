// Reading /metrics: Prometheus text format, as much of it as the live panel needs.

export interface Sample {
  labels: Record<string, string>;
  value: number;
}

export type Metrics = Map<string, Sample[]>;

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:\\.|[^"\\])*)"/g;

export function parseMetrics(text: string): Metrics {
  const metrics: Metrics = new Map();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const match = LINE.exec(line);
    if (!match) continue;
    const labels: Record<string, string> = {};
    for (const label of (match[2] ?? '').matchAll(LABEL)) labels[label[1]!] = label[2]!;
    const samples = metrics.get(match[1]!) ?? [];
    samples.push({ labels, value: parseValue(match[3]!) });
    metrics.set(match[1]!, samples);
  }
  return metrics;
}

function parseValue(text: string): number {
  return text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text);
}

// Sum over all label sets; null if the metric is not there.
export function total(metrics: Metrics, name: string): number | null {
  const samples = metrics.get(name);
  return samples ? samples.reduce((sum, sample) => sum + sample.value, 0) : null;
}

// Cumulative counts of a histogram by upper bound, summed over its other labels.
export function buckets(metrics: Metrics, name: string): [number, number][] {
  const counts = new Map<number, number>();
  for (const { labels, value } of metrics.get(`${name}_bucket`) ?? []) {
    const bound = parseValue(labels['le'] ?? '');
    if (!Number.isNaN(bound)) counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return [...counts].sort((a, b) => a[0] - b[0]);
}

// What came between two readings of one histogram.
export function bucketDifference(now: [number, number][], before: [number, number][]): [number, number][] {
  const old = new Map(before);
  return now.map(([bound, count]) => [bound, Math.max(0, count - (old.get(bound) ?? 0))]);
}

// The q-quantile (0..1), linear within its bucket as Prometheus' histogram_quantile does; null without observations.
export function quantile(q: number, cumulative: [number, number][]): number | null {
  const count = cumulative[cumulative.length - 1]?.[1] ?? 0;
  if (count <= 0) return null;
  const rank = q * count;
  let lower = 0;
  let below = 0;
  for (const [bound, reached] of cumulative) {
    if (reached >= rank) {
      if (bound === Infinity) return lower;
      return reached === below ? bound : lower + ((bound - lower) * (rank - below)) / (reached - below);
    }
    lower = bound;
    below = reached;
  }
  return lower;
}
