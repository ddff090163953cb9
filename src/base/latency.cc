#include "base/latency.h"

#include <algorithm>
#include <cmath>

namespace glimpse {

namespace {

double milliseconds(int64_t ns) {
  return std::round(static_cast<double>(ns) / 1e3) / 1e3;
}

}  // namespace

std::string_view span_name(Span span) {
  static constexpr std::array<std::string_view, kNumSpans> kNames = {
      "receive", "decode_image", "preprocess",  "tokenize", "queue",
      "vision",  "prefill",      "first_token", "decode",   "stream"};
  return kNames[static_cast<size_t>(span)];
}

LatencyAccount::LatencyAccount(int64_t arrival_ns, size_t expected_spans)
    : arrival_ns_(arrival_ns), end_ns_(arrival_ns) {
  entries_.reserve(expected_spans);
}

void LatencyAccount::record(Span span, int64_t begin_ns, int64_t end_ns) {
  entries_.push_back({span, begin_ns, end_ns});
  end_ns_ = std::max(end_ns_, end_ns);
}

LatencyAccount::Summary LatencyAccount::summarize() const {
  Summary summary;
  summary.total_ns = total_ns();
  struct Edge {
    int64_t at_ns;
    size_t entry;
    bool begins;
  };
  std::vector<Edge> edges;
  edges.reserve(entries_.size() * 2);
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    SpanSummary& span = summary.spans[static_cast<size_t>(entry.span)];
    const int64_t start = entry.begin_ns - arrival_ns_;
    span.start_ns = span.count == 0 ? start : std::min(span.start_ns, start);
    span.duration_ns += entry.end_ns - entry.begin_ns;
    ++span.count;
    // Only what lies between arrival and end is on the request's path.
    const int64_t begin = std::clamp(entry.begin_ns, arrival_ns_, end_ns_);
    const int64_t end = std::clamp(entry.end_ns, arrival_ns_, end_ns_);
    if (begin < end) {
      edges.push_back({begin, i, true});
      edges.push_back({end, i, false});
    }
  }
  std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) { return a.at_ns < b.at_ns; });
  std::vector<size_t> active;  // indices into entries_; the one that began last owns the time
  int64_t previous = arrival_ns_;
  for (const Edge& edge : edges) {
    if (!active.empty() && edge.at_ns > previous) {
      const size_t owner = *std::max_element(active.begin(), active.end(), [&](size_t a, size_t b) {
        return entries_[a].begin_ns != entries_[b].begin_ns ? entries_[a].begin_ns < entries_[b].begin_ns : a < b;
      });
      summary.spans[static_cast<size_t>(entries_[owner].span)].exclusive_ns += edge.at_ns - previous;
      summary.union_ns += edge.at_ns - previous;
    }
    previous = edge.at_ns;
    if (edge.begins) {
      active.push_back(edge.entry);
    } else {
      active.erase(std::find(active.begin(), active.end(), edge.entry));
    }
  }
  return summary;
}

json::object LatencyAccount::to_json() const {
  const Summary summary = summarize();
  json::array spans;
  for (int i = 0; i < kNumSpans; ++i) {
    const SpanSummary& span = summary.spans[static_cast<size_t>(i)];
    if (span.count == 0) continue;
    spans.push_back(json::object{{"name", span_name(static_cast<Span>(i))},
                                 {"start_ms", milliseconds(span.start_ns)},
                                 {"duration_ms", milliseconds(span.duration_ns)},
                                 {"exclusive_ms", milliseconds(span.exclusive_ns)},
                                 {"count", span.count}});
  }
  return {{"total_ms", milliseconds(summary.total_ns)},
          {"covered_ms", milliseconds(summary.union_ns)},
          {"spans", std::move(spans)}};
}

}  // namespace glimpse
