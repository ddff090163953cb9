#pragma once

// What an op of the CPU back end runs with. Ops are plain functions `void op(const OpArgs&, Context&)` in this folder;
// backend.cc puts them into the table and decides when they run.

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "kernels/backend.h"
#include "kernels/cpu/pool.h"

namespace glimpse::cpu {

struct Context {
  Pool& pool;
  CpuIsa isa;
  std::byte* workspace = nullptr;  // 64-byte aligned, the stream's; shared by all ops of the stream, in turn
  size_t workspace_bytes = 0;

  // The first `bytes` of the workspace.
  template <typename T>
  T* scratch(size_t bytes) const {
    CHECK(bytes <= workspace_bytes, bytes, workspace_bytes);
    return reinterpret_cast<T*>(workspace);
  }
};

}  // namespace glimpse::cpu
