#include "base/latency.h"

#include <gtest/gtest.h>

#include <random>

namespace glimpse {
namespace {

const SpanSummary& of(const LatencyAccount::Summary& summary, Span span) {
  return summary.spans[static_cast<size_t>(span)];
}

TEST(LatencyAccount, OverlappingSpansShareTheTime) {
  LatencyAccount account(1000);
  account.record(Span::kReceive, 1000, 1100);
  account.record(Span::kDecodeImage, 1050, 1300);  // overlaps the first by 50
  account.record(Span::kVision, 1400, 1500);       // after a gap of 100
  account.finish(1500);
  const auto summary = account.summarize();
  EXPECT_EQ(summary.total_ns, 500);
  EXPECT_EQ(summary.union_ns, 400);
  EXPECT_EQ(of(summary, Span::kReceive).exclusive_ns, 50);
  EXPECT_EQ(of(summary, Span::kDecodeImage).exclusive_ns, 250);
  EXPECT_EQ(of(summary, Span::kDecodeImage).duration_ns, 250);
  EXPECT_EQ(of(summary, Span::kVision).start_ns, 400);
}

TEST(LatencyAccount, WorkBeforeTheRequestStartsNegativeAndIsNotInTheSum) {
  LatencyAccount account(1000);
  account.record(Span::kVision, 200, 700);
  account.record(Span::kPrefill, 900, 1200);
  account.finish(1200);
  const auto summary = account.summarize();
  EXPECT_EQ(of(summary, Span::kVision).start_ns, -800);
  EXPECT_EQ(of(summary, Span::kVision).exclusive_ns, 0);
  EXPECT_EQ(of(summary, Span::kPrefill).exclusive_ns, 200);
  EXPECT_EQ(summary.union_ns, 200);
}

TEST(LatencyAccount, ExclusiveSharesAlwaysAddUpToTheUnion) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; ++round) {
    LatencyAccount account(0);
    std::vector<bool> covered(300, false);
    for (int i = 0; i < 20; ++i) {
      const auto begin = static_cast<int64_t>(random() % 280) - 30;
      const auto end = begin + static_cast<int64_t>(random() % 40);
      account.record(static_cast<Span>(random() % kNumSpans), begin, end);
      for (int64_t t = std::max<int64_t>(begin, 0); t < end; ++t) covered[static_cast<size_t>(t)] = true;
    }
    account.finish(300);
    const auto summary = account.summarize();
    int64_t sum = 0;
    for (const auto& span : summary.spans) sum += span.exclusive_ns;
    EXPECT_EQ(sum, summary.union_ns);
    EXPECT_EQ(summary.union_ns, std::count(covered.begin(), covered.end(), true));
  }
}

}  // namespace
}  // namespace glimpse
