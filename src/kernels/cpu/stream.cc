#include "kernels/cpu/stream.h"

#include <chrono>
#include <cstring>

namespace glimpse::cpu {

namespace {

// Poison: a huge float32 and bfloat16 (3.39e38), an int32 far outside every table.
constexpr int kPoison = 0x7f;

// Before each job the deferred stream sleeps for a pseudo-random 0 to 63 microseconds (SplitMix64 of the job's number).
std::chrono::microseconds delay_of(uint64_t job) {
  job = (job + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
  return std::chrono::microseconds((job ^ (job >> 31)) & 63);
}

}  // namespace

void DeviceRanges::add(const void* data, size_t bytes) {
  const std::lock_guard lock(mutex_);
  ranges_[reinterpret_cast<uintptr_t>(data)] = bytes;
}

void DeviceRanges::remove(const void* data) {
  const std::lock_guard lock(mutex_);
  ranges_.erase(reinterpret_cast<uintptr_t>(data));
}

bool DeviceRanges::contains(const void* data) const {
  const std::lock_guard lock(mutex_);
  const auto at = reinterpret_cast<uintptr_t>(data);
  const auto after = ranges_.upper_bound(at);
  if (after == ranges_.begin()) return false;
  const auto& [begin, bytes] = *std::prev(after);
  return at < begin + bytes;
}

void CpuStream::copy(void* dst, const void* src, size_t bytes) {
  if (bytes > 0) std::memmove(dst, src, bytes);
}

Status CpuStream::reserve_workspace(size_t bytes) {
  if (bytes <= context_.workspace_bytes) return {};
  ASSIGN_OR_RETURN(workspace_, backend_.allocate(bytes, MemoryKind::kDevice));
  context_.workspace = workspace_.as<std::byte>();
  context_.workspace_bytes = bytes;
  return {};
}

DeferredStream::DeferredStream(Backend& backend, Pool& pool, CpuIsa isa, std::shared_ptr<const DeviceRanges> device)
    : CpuStream(backend, pool, isa, true), device_(std::move(device)), worker_([this] { work(); }) {}

DeferredStream::~DeferredStream() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  worker_.join();
}

void DeferredStream::synchronize() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return jobs_.empty(); });
}

void DeferredStream::copy(void* dst, const void* src, size_t bytes) {
  if (bytes == 0) return;
  if (!device_->contains(dst)) std::memset(dst, kPoison, bytes);
  defer([dst, src, bytes](Context&) { std::memmove(dst, src, bytes); });
}

Status DeferredStream::reserve_workspace(size_t bytes) {
  synchronize();
  return CpuStream::reserve_workspace(bytes);
}

void DeferredStream::defer(std::function<void(Context&)> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  changed_.notify_all();
}

void DeferredStream::work() {
  std::unique_lock lock(mutex_);
  for (uint64_t count = 0;; ++count) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;  // stopping, and everything enqueued has run
    auto& job = jobs_.front();  // a deque's elements stay where they are while others are appended
    lock.unlock();
    std::this_thread::sleep_for(delay_of(count));
    job(context_);
    lock.lock();
    jobs_.pop_front();
    if (jobs_.empty()) changed_.notify_all();
  }
}

}  // namespace glimpse::cpu
