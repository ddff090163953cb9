#pragma once

// The latency account of one request: what was done when, on one monotonic clock. Span names are the same in the API,
// the page, the metrics and the docs (docs/latency-account.md).

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace glimpse {

enum class Span : uint8_t {
  kReceive,      // reading the request's bytes
  kDecodeImage,  // compressed picture -> pixels
  kPreprocess,   // resize, normalise, patchify
  kTokenize,     // template, token ids, placeholders, positions
  kQueue,        // waiting for a place in a step
  kVision,       // the vision tower
  kPrefill,      // computing the prompt
  kFirstToken,   // sampling the first token
  kDecode,       // the steps after it
  kStream,       // detokenising and writing
};
inline constexpr int kNumSpans = 10;

std::string_view span_name(Span span);

// Per kind of span. Times are in ns relative to the arrival; negative for work done before it.
struct SpanSummary {
  int count = 0;
  int64_t start_ns = 0;      // of the first
  int64_t duration_ns = 0;   // sum of the durations
  int64_t exclusive_ns = 0;  // its share of the time from arrival to end: where spans overlap, the one that began last
                             // has the time; the shares add up to the union
};

// Not thread-safe; one owner at a time.
class LatencyAccount {
 public:
  // `expected_spans` are reserved, so that recording up to that many allocates nothing.
  explicit LatencyAccount(int64_t arrival_ns, size_t expected_spans = 64);

  void record(Span span, int64_t begin_ns, int64_t end_ns);
  void finish(int64_t end_ns) { end_ns_ = end_ns; }

  struct Entry {
    Span span;
    int64_t begin_ns;
    int64_t end_ns;
  };
  // As recorded, for traces.
  const std::vector<Entry>& entries() const { return entries_; }

  int64_t arrival_ns() const { return arrival_ns_; }
  int64_t total_ns() const { return end_ns_ - arrival_ns_; }

  struct Summary {
    std::array<SpanSummary, kNumSpans> spans;
    int64_t union_ns = 0;  // time between arrival and end that at least one span covers
    int64_t total_ns = 0;
  };
  Summary summarize() const;

  // {"total_ms": .., "covered_ms": .., "spans": [{"name", "start_ms", "duration_ms", "exclusive_ms", "count"}, ..]},
  // spans that did not occur left out.
  json::object to_json() const;

 private:
  int64_t arrival_ns_;
  int64_t end_ns_;
  std::vector<Entry> entries_;
};

}  // namespace glimpse
