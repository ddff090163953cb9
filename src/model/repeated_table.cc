#include "model/repeated_table.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace glimpse {

namespace {

Error failed(const char* what) {
  return {ErrorCode::kResource, std::string("random weights: cannot ") + what + ": " + std::strerror(errno)};
}

}  // namespace

Result<std::shared_ptr<RepeatedTable>> RepeatedTable::reserve(int64_t rows, size_t row_bytes) {
  auto table = std::shared_ptr<RepeatedTable>(new RepeatedTable());
  table->period_ = static_cast<size_t>(kRows) * row_bytes;  // a multiple of the page size, whatever the row's
  const size_t whole = static_cast<size_t>(rows) * row_bytes;
  table->size_ = (whole + table->period_ - 1) / table->period_ * table->period_;
  table->memory_ = ::memfd_create("glimpse-embedding", MFD_CLOEXEC);
  if (table->memory_ < 0 || ::ftruncate(table->memory_, static_cast<off_t>(table->period_)) != 0) {
    return failed("get memory");
  }
  void* data = ::mmap(nullptr, table->size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return failed("reserve addresses");
  table->data_ = static_cast<std::byte*>(data);
  if (::mmap(data, table->period_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, table->memory_, 0) == MAP_FAILED) {
    return failed("map memory");
  }
  table->first_ = {table->data_, std::min(whole, table->period_)};
  return table;
}

Status RepeatedTable::repeat() {
  for (size_t at = period_; at < size_; at += period_) {
    if (::mmap(data_ + at, period_, PROT_READ, MAP_SHARED | MAP_FIXED, memory_, 0) == MAP_FAILED) {
      return failed("map memory");
    }
  }
  return {};
}

RepeatedTable::~RepeatedTable() {
  if (data_ != nullptr) ::munmap(data_, size_);
  if (memory_ >= 0) ::close(memory_);
}

}  // namespace glimpse
