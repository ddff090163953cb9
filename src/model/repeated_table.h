#pragma once

// A large table in little memory, for random weights: the same pages appear again and again.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"

namespace glimpse {

// An embedding of the 9B shape is 1.2 GB of which a prompt reads a few rows. With a checkpoint it stays in the mapped
// file; generated, it would have to be written out first. Here only the first kRows rows exist; row r reads as row
// r % kRows. Any number of rows of any size: kRows rows are whole pages.
class RepeatedTable {
 public:
  static constexpr int64_t kRows = 4096;

  // `fill` writes rows [0, min(rows, kRows)) of row_bytes each, tightly. Errors: kResource.
  template <typename Fill>
  static Result<std::shared_ptr<RepeatedTable>> create(int64_t rows, size_t row_bytes, const Fill& fill) {
    ASSIGN_OR_RETURN(auto table, reserve(rows, row_bytes));
    RETURN_IF_ERROR(fill(table->first_));
    RETURN_IF_ERROR(table->repeat());
    return table;
  }

  ~RepeatedTable();
  RepeatedTable(const RepeatedTable&) = delete;
  RepeatedTable& operator=(const RepeatedTable&) = delete;

  const std::byte* data() const { return data_; }

 private:
  RepeatedTable() = default;
  static Result<std::shared_ptr<RepeatedTable>> reserve(int64_t rows, size_t row_bytes);
  Status repeat();

  std::byte* data_ = nullptr;  // the whole table's addresses
  size_t size_ = 0;
  int memory_ = -1;  // of the first rows
  size_t period_ = 0;
  std::span<std::byte> first_;  // the first rows, writable
};

}  // namespace glimpse
