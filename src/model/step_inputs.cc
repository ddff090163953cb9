#include "model/step_inputs.h"

#include <utility>

namespace glimpse {

namespace {

// Lays the fields out behind `base`; returns the number of int32s used. Each field starts on a cache line.
template <typename T>
size_t lay_out(T* base, const StepLimits& limits, StepFields<T>& fields) {
  size_t offset = 0;
  const auto take = [&](int64_t count) {
    T* field = base == nullptr ? nullptr : base + offset;
    offset += (static_cast<size_t>(count) + 15) / 16 * 16;
    return field;
  };
  fields.counts = take(3);
  fields.token_ids = take(limits.max_tokens);
  fields.image_rows = take(limits.max_tokens);
  fields.positions = take(int64_t{3} * limits.max_tokens);
  fields.slot_mapping = take(limits.max_tokens);
  fields.cu_seqlens = take(limits.max_seqs + 1);
  fields.context_lens = take(limits.max_seqs);
  fields.block_table = take(int64_t{limits.max_seqs} * limits.max_blocks_per_seq);
  fields.logits_idx = take(limits.max_seqs);
  fields.row_slots = take(limits.max_seqs);
  return offset;
}

}  // namespace

Result<StepInputs> StepInputs::create(Backend& backend, const StepLimits& limits) {
  StepInputs inputs;
  inputs.limits_ = limits;
  StepFields<const int32_t> sizes;
  const size_t bytes = lay_out<const int32_t>(nullptr, limits, sizes) * sizeof(int32_t);
  ASSIGN_OR_RETURN(inputs.device_memory_, backend.allocate(bytes, MemoryKind::kDevice));
  lay_out(static_cast<const int32_t*>(inputs.device_memory_.as<int32_t>()), limits, inputs.device_);
  for (size_t i = 0; i < inputs.host_.size(); ++i) {
    ASSIGN_OR_RETURN(inputs.host_memory_[i], backend.allocate(bytes, MemoryKind::kPinnedHost));
    lay_out(inputs.host_memory_[i].as<int32_t>(), limits, inputs.host_[i]);
  }
  return inputs;
}

void StepInputs::upload(Stream& stream) {
  stream.copy(device_memory_.data(), host_memory_[turn_].data(), device_memory_.bytes());
  turn_ = 1 - turn_;
}

}  // namespace glimpse
