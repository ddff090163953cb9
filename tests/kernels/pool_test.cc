#include "kernels/cpu/pool.h"

#include <gtest/gtest.h>
#include <time.h>

#include <atomic>
#include <thread>
#include <vector>

namespace glimpse::cpu {
namespace {

TEST(Pool, RunsABodyAtMostOnceOnEachThreadAndAlwaysOnTheCaller) {
  for (const int threads : {1, 2, 5}) {
    Pool pool(threads);
    for (int round = 0; round < 300; ++round) {
      std::vector<std::atomic<int>> calls(threads);
      const auto caller = std::this_thread::get_id();
      pool.run([&](int t) {
        ++calls[t];
        EXPECT_EQ(t == 0, std::this_thread::get_id() == caller);
      });
      ASSERT_EQ(calls[0], 1);
      for (const auto& count : calls) ASSERT_LE(count, 1);
    }
  }
}

TEST(Pool, WorkersJoinARegionThatIsLongEnough) {
  Pool pool(3);
  std::atomic<int> inside{0};
  pool.run([&](int) {
    ++inside;
    while (inside < 3) std::this_thread::yield();
  });
  EXPECT_EQ(inside, 3);
}

// A worker that is busy elsewhere (here: in a region it has not left, because it is asked to wait) is not missed; what
// regions read may be gone as soon as run() has returned.
TEST(Pool, LateWorkersDoNotEnterClosedRegions) {
  Pool pool(4);
  for (int round = 0; round < 20000; ++round) {
    auto context = std::make_unique<std::atomic<int>>(round);
    pool.run([value = context.get(), round](int) { ASSERT_EQ(value->load(), round); });
    context->store(-1);
  }
}

TEST(Pool, HandsOutEveryItemOnce) {
  Pool pool(3);
  for (const int64_t count : {0, 1, 7, 8, 9, 1000}) {
    for (const int64_t grain : {1, 8, 2000}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
      pool.for_each(count, grain, [&](int64_t begin, int64_t end) {
        ASSERT_LE(end - begin, std::max<int64_t>(grain, 1));
        for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
      });
      for (const auto& times : seen) ASSERT_EQ(times, 1);
    }
  }
}

TEST(Pool, SerialisesRegionsOfSeveralCallers) {
  Pool pool(2);
  std::atomic<int> inside{0}, total{0}, overlaps{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        pool.run([&](int) {
          if (++inside > 2) ++overlaps;
          ++total;
          --inside;
        });
      }
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_GE(total, 4 * 200);
  EXPECT_LE(total, 4 * 200 * 2);
  EXPECT_EQ(overlaps, 0);
}

TEST(Pool, SleepsWhenIdle) {
  Pool pool(4);
  pool.run([](int) {});
  const auto cpu_seconds = [] {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::seconds(1));
  EXPECT_LT(cpu_seconds() - before, 0.005);
}

}  // namespace
}  // namespace glimpse::cpu
