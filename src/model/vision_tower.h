#pragma once

// The vision tower and merger of the glm4v family (glm-v.md 3): one picture's patches in, one row per image token out.

#include <memory>
#include <span>
#include <vector>

#include "kernels/ops.h"
#include "model/arena.h"
#include "model/config.h"
#include "model/mrope.h"

namespace glimpse {

// Loaded once (loader.h).
struct VisionWeights {
  struct Block {
    const float* norm1 = nullptr;
    std::unique_ptr<PackedLinear> qkv;   // [3 hidden, hidden]
    std::unique_ptr<PackedLinear> proj;  // [hidden, hidden]
    const float* norm2 = nullptr;
    std::unique_ptr<PackedLinear> gate_up;  // [2 out_hidden, hidden]
    std::unique_ptr<PackedLinear> down;     // [hidden, out_hidden]
  };
  std::unique_ptr<PackedLinear> patch_embed;  // [hidden, channels patch^2]: the sum over the two equal frames
  const float* post_conv_layernorm = nullptr;
  const float* position_embedding = nullptr;  // [side^2, hidden]
  std::vector<Block> blocks;
  const float* post_layernorm = nullptr;
  std::unique_ptr<PackedLinear> downsample;   // [out_hidden, merge^2 hidden]
  std::unique_ptr<PackedLinear> merger_proj;  // [out_hidden, out_hidden]
  const float* merger_norm_weight = nullptr;
  const float* merger_norm_bias = nullptr;
  std::unique_ptr<PackedLinear> merger_gate_up;  // [2 intermediate, out_hidden]
  std::unique_ptr<PackedLinear> merger_down;     // [out_hidden, intermediate]
  std::shared_ptr<void> owner;
};

// One picture at a time; buffers grow to the largest seen. The work comes in slices, so that a scheduler can run decode
// steps in between: one block of a large picture is seconds of a CPU's work, so a slice may be as small as some rows of
// a block's products, or one head of some queries. What comes out is the same, to the last bit.
class VisionTower {
 public:
  static Result<std::unique_ptr<VisionTower>> create(Backend& backend, const VisionConfig& config,
                                                     VisionWeights weights);

  // What `pixels` must be: rows of one frame, [patches, channels patch^2], in merge-window order (glm-v.md 4.3).
  DType pixel_dtype() const { return weights_.patch_embed->input_dtype(); }

  // Begins a picture: patches as pixel_dtype() says, or a block where the back end cuts pictures. What `pixels` points
  // to may not change before the first stage has run; out has grid.num_tokens rows and the text's hidden_size columns.
  // Call it when the previous picture is finished; it may synchronise `stream` to grow buffers. Errors: kResource.
  Status begin(const PixelSource& pixels, const GridThw& grid, const Matrix& out, Stream& stream);
  // Enqueues work of about max_flops operations (infinity: all that is left), at least the smallest slice; true when
  // the picture's last one has been enqueued.
  bool advance(double max_flops, Stream& stream);
  // The picture that was begun is not wanted any more.
  void abandon();

  // Operations of the picture that was begun, and those enqueued so far; elementwise work counts as much as it takes.
  double total_flops() const { return total_flops_; }
  double flops_done() const { return flops_done_; }

  // [patches, hidden]: the residual stream between stages. For tests that look at single blocks.
  const Matrix& hidden() const { return x_; }

 private:
  VisionTower(Backend& backend, const VisionConfig& config) : backend_(&backend), config_(config), arena_(backend) {}

  Status grow(int64_t patches, Stream& stream);
  Status cut(const PixelSource& picture, Stream& stream);
  size_t workspace_bytes() const;

  // The work on a picture is a list of phases, each a run of rows: patches, or windows in the merger; in attention
  // (head, query) pairs, head by head.
  enum class Phase : uint8_t { kEmbed, kQkv, kAttention, kMlp, kMerge };
  const VisionWeights::Block& block() const { return weights_.blocks[block_]; }
  int64_t phase_rows() const;
  double row_flops(Phase phase) const;
  double slice_flops() const;  // of the smallest slice of the phase
  bool heads_apart() const;    // attention may run some heads alone
  double advance_phase(double max_flops, Stream& stream);
  int64_t attend(double max_flops, Stream& stream);
  bool next_phase();

  // Each for rows [first, first + count) of its phase.
  void embed_patches(int64_t first, int64_t count, Stream& stream);
  void project_qkv(int64_t first, int64_t count, Stream& stream);
  void run_mlp(int64_t first, int64_t count, Stream& stream);
  void merge(int64_t first, int64_t count, Stream& stream);

  Rows rows(int64_t count) const { return {iota_ + count, static_cast<int32_t>(count)}; }
  AddNormArgs norm_args(const float* weight, bool add_branch, int64_t first, int64_t count) const;
  QkvRopeKvArgs qkv_args(const VisionWeights::Block& block, int64_t first, int64_t count) const;
  AttentionVarlenArgs attention_args() const;
  GateUpSiluArgs gate_up_args(const VisionWeights::Block& block, int64_t first, int64_t count) const;
  LinearArgs linear_args(const PackedLinear& weight, const Activation& x, const Activation& y, int64_t first,
                         int64_t count) const;
  PatchEmbedPosArgs patch_args(int64_t first, int64_t count) const;

  Backend* backend_;
  bool whole_phases_ = false;  // slices are whole phases
  VisionConfig config_;
  VisionWeights weights_;
  Arena arena_;
  int64_t capacity_ = 0;  // patches

  // Device inputs of a picture: counts {patches, segments}, cu_seqlens [2], then 4 rows of [capacity]:
  // row, col, grid_h, grid_w. The host image has the same layout.
  int32_t* inputs_ = nullptr;
  Buffer host_inputs_;
  size_t input_count_ = 0;
  Rows patches_, segments_;
  const int32_t* iota_ = nullptr;  // 0, 1, 2, ...: the row counts of slices, in device memory as ops want them
  const float* inv_freq_ = nullptr;
  const uint8_t* axis_ = nullptr;

  Buffer block_memory_;  // of a picture that the device cuts; grows to the largest

  Matrix pixels_, x_, branch_, qkv_, merged_;
  Activation normed_, attended_, inner_, downsampled_in_, merger_in_, merger_normed_, merger_inner_;
  float* cos_ = nullptr;
  float* sin_ = nullptr;
  Matrix out_;

  // The picture that was begun.
  bool busy_ = false;
  int64_t num_patches_ = 0;
  int64_t num_tokens_ = 0;
  Phase phase_ = Phase::kEmbed;
  size_t block_ = 0;
  int64_t done_ = 0;  // rows of the phase
  double total_flops_ = 0;
  double flops_done_ = 0;
};

}  // namespace glimpse
