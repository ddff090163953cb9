#pragma once

// Streams of the CPU back end. The inline stream runs an op inside enqueue. The deferred stream, for tests, queues it
// and runs it a little later on another thread: what works only because the CPU is synchronous then fails.

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "kernels/cpu/context.h"

namespace glimpse::cpu {

// The address ranges of a back end's device buffers, so that the deferred stream can tell host memory.
class DeviceRanges {
 public:
  void add(const void* data, size_t bytes);
  void remove(const void* data);
  bool contains(const void* data) const;

 private:
  mutable std::mutex mutex_;
  std::map<uintptr_t, size_t> ranges_;
};

class CpuStream : public Stream {
 public:
  CpuStream(Backend& backend, Pool& pool, CpuIsa isa) : backend_(backend), context_{.pool = pool, .isa = isa} {}

  Backend& backend() const override { return backend_; }
  void synchronize() override {}
  void copy(void* dst, const void* src, size_t bytes) override;
  Status reserve_workspace(size_t bytes) override;

  // Runs op(args, context) in stream order. `args` is copied if it has to wait.
  template <typename Args>
  void submit(void (*op)(const Args&, Context&), const Args& args) {
    if (deferred_) {
      defer([op, args](Context& context) { op(args, context); });
    } else {
      op(args, context_);
    }
  }

 protected:
  CpuStream(Backend& backend, Pool& pool, CpuIsa isa, bool deferred)
      : backend_(backend), context_{.pool = pool, .isa = isa}, deferred_(deferred) {}
  virtual void defer(std::function<void(Context&)>) {}

  Backend& backend_;
  Context context_;
  Buffer workspace_;
  const bool deferred_ = false;
};

class DeferredStream final : public CpuStream {
 public:
  DeferredStream(Backend& backend, Pool& pool, CpuIsa isa, std::shared_ptr<const DeviceRanges> device);
  ~DeferredStream() override;

  void synchronize() override;
  // Host destinations are poisoned now and written later; sources are read later.
  void copy(void* dst, const void* src, size_t bytes) override;
  Status reserve_workspace(size_t bytes) override;

 private:
  void defer(std::function<void(Context&)> job) override;
  void work();

  std::shared_ptr<const DeviceRanges> device_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void(Context&)>> jobs_;  // the front one is running
  bool stopping_ = false;
  std::thread worker_;
};

}  // namespace glimpse::cpu
