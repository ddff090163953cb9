#pragma once

// What the engine's loop drives: steps go in, sampled tokens come out. Logits, streams and device memory stay behind
// it. With a pipeline depth of 1 a step may be submitted before the previous one is collected: its decoding sequences
// then continue from an id that only the device knows (BatchEntry::token_ids holds -1 - slot).
//
// One thread calls it, except for what says otherwise.

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/batch.h"
#include "engine/device_usage.h"
#include "model/mrope.h"
#include "sampling/params.h"
#include "sampling/sampler.h"
#include "sampling/token_mask.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"
#include "tensor/picture_block.h"

namespace glimpse {

struct StepRunnerInfo {
  int32_t block_size = 0;
  int32_t num_blocks = 0;
  int64_t block_bytes = 0;
  int32_t max_model_len = 0;
  int32_t max_num_batched_tokens = 0;
  int32_t max_num_seqs = 0;  // slots, and sequences in a step
  int32_t vocab_size = 0;
  int32_t spatial_merge_size = 0;
  int64_t patch_values = 0;    // pixel values of a patch
  int32_t num_image_rows = 0;  // of image embeddings on the device
  size_t image_row_bytes = 0;
  bool cuts_pictures = false;  // begin_image takes blocks too
  bool vision_apart = false;   // the tower runs beside the steps and gives way to them
  bool tunes_shapes = false;   // the first use of a class of row counts is slow
  int pipeline_depth = 0;      // 0: collect after each submit; 1: one step may be in flight when the next is submitted
};

// How a slot draws. Everything pointed to outlives the slot's use.
struct SlotSpec {
  const SamplingParams* sampling = nullptr;  // valid, and with a seed
  std::span<const int32_t> prompt_ids;
  std::span<const int32_t> output_ids;  // drawn earlier, in another slot
  std::span<const int32_t> stop_token_ids;
  TokenMask* mask = nullptr;  // asked when a step with the slot is submitted or sampled, told when it is collected
};

struct StepResult {
  // One for each entry that wanted logits and has a slot, in the batch's order; may be moved from; valid until the next
  // submit.
  std::span<SampledToken> tokens;
  // On the clock, when the logits were there and sampling began; 0: not known.
  int64_t sampling_ns = 0;
};

struct VisionProgress {
  bool done = false;
  double flops = 0;  // of this call
  int64_t ns = 0;    // that they took
};

class StepRunner {
 public:
  virtual ~StepRunner() = default;
  virtual const StepRunnerInfo& info() const = 0;

  virtual void open_slot(int32_t slot, const SlotSpec& spec) = 0;
  virtual void close_slot(int32_t slot) = 0;

  // `batch` and what its spans point to are copied before it returns.
  virtual void submit(const Batch& batch) = 0;
  // Waits for the oldest step that was submitted and not collected.
  virtual StepResult collect() = 0;

  // The dtype of pixels; loads the tower at the first call. From any thread, also beside the others.
  virtual Result<DType> prepare_vision() = 0;
  // Memory of the host that copies to and from the device are fastest with, zeroed, 64-byte aligned. From any thread.
  // Errors: kResource.
  virtual Result<Buffer> allocate_host(size_t bytes) = 0;
  // From any thread.
  virtual DeviceUsage device_usage() const { return {}; }
  // As Runner's. Steps submitted after the picture is done read its rows; `pixels` last until then or abandon_image.
  virtual Status begin_image(const PixelSource& pixels, const GridThw& grid, int32_t first_row) = 0;
  // With vision_apart the slice may still run when it returns: then flops are 0, and the next call asks for its end.
  virtual VisionProgress advance_image(double max_flops) = 0;
  // Whether a slice is under way, which abandon_image would wait for.
  virtual bool image_running() const { return false; }
  virtual void abandon_image() = 0;
  // Rows of image embeddings, to host memory and back. No step in flight reads them.
  virtual void read_images(int32_t first_row, int32_t count, std::byte* dst) = 0;
  virtual void write_images(int32_t first_row, int32_t count, const std::byte* src) = 0;
};

}  // namespace glimpse
