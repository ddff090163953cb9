#pragma once

// What changes from one step to the next. It lies in one block of device memory at fixed addresses; the host fills a
// pinned image of the same layout and one asynchronous copy brings it over. Two images alternate, so that the next step
// can be written while the copy of this one is still to run.

#include <array>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/ops.h"

namespace glimpse {

// Capacities of a step, fixed at start.
struct StepLimits {
  int32_t max_tokens = 0;          // tokens of all sequences in one step
  int32_t max_seqs = 0;            // sequences in one step
  int32_t max_blocks_per_seq = 0;  // ceil(longest context / block_size)
};

// How much of the capacities a step uses.
struct StepShape {
  int32_t num_tokens = 0;
  int32_t num_seqs = 0;
  int32_t num_logits = 0;
};

// Pointers into one image of a step. T is int32_t (host, written) or const int32_t (device, read).
template <typename T>
struct StepFields {
  T* counts = nullptr;        // [3]: num_tokens, num_seqs, num_logits
  T* token_ids = nullptr;     // [max_tokens]; -1 - slot: the last sampled id of that slot
  T* image_rows = nullptr;    // [max_tokens]; row of the image embeddings, or -1
  T* positions = nullptr;     // [3, max_tokens]
  T* slot_mapping = nullptr;  // [max_tokens]
  T* cu_seqlens = nullptr;    // [max_seqs + 1]
  T* context_lens = nullptr;  // [max_seqs]
  T* block_table = nullptr;   // [max_seqs, max_blocks_per_seq]
  T* logits_idx = nullptr;    // [max_seqs]: token whose logits are wanted
  T* row_slots = nullptr;     // [max_seqs]: of each row of logits, the slot that draws from it, or -1
};

class StepInputs {
 public:
  static Result<StepInputs> create(Backend& backend, const StepLimits& limits);

  const StepLimits& limits() const { return limits_; }
  // The image to fill for the next step. Its previous copy has run if no more than one step is in flight.
  const StepFields<int32_t>& next() { return host_[turn_]; }
  // Enqueues the copy of next() to the device and turns to the other image.
  void upload(Stream& stream);

  const StepFields<const int32_t>& device() const { return device_; }
  Rows tokens() const { return {device_.counts + 0, limits_.max_tokens}; }
  Rows seqs() const { return {device_.counts + 1, limits_.max_seqs}; }
  Rows logits() const { return {device_.counts + 2, limits_.max_seqs}; }

 private:
  StepLimits limits_;
  Buffer device_memory_;
  std::array<Buffer, 2> host_memory_;
  StepFields<const int32_t> device_;
  std::array<StepFields<int32_t>, 2> host_;
  size_t turn_ = 0;
};

}  // namespace glimpse
