#include "model/vision_tower.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace glimpse {

namespace {

// Places in the int32 inputs: three counts come first, then the segment bounds, then the four rows of coordinates.
constexpr size_t kSeqlensOffset = 16;
constexpr size_t kRowsOffset = 32;

}  // namespace

Result<std::unique_ptr<VisionTower>> VisionTower::create(Backend& backend, const VisionConfig& config,
                                                         VisionWeights weights) {
  auto tower = std::unique_ptr<VisionTower>(new VisionTower(backend, config));
  tower->weights_ = std::move(weights);
  return tower;
}

Status VisionTower::grow(int64_t patches, Stream& stream) {
  stream.synchronize();
  // A quarter of headroom, so that a run of slightly larger pictures does not grow each time.
  const int64_t window = config_.spatial_merge_size * config_.spatial_merge_size;
  const int64_t capacity = (patches + patches / 4 + window - 1) / window * window;
  arena_ = Arena(*backend_);
  capacity_ = 0;
  const int64_t hidden = config_.hidden_size;
  const int64_t out_hidden = config_.out_hidden_size;
  const int64_t tokens = capacity / window;
  const VisionWeights::Block& block = weights_.blocks.front();
  const DType residual = backend_->residual_dtype(block.qkv->format);
  const DType dot = pixel_dtype();  // q, k, v have the tower's own dtype, also when its products are quantised
  const int64_t frame = config_.in_channels * config_.patch_size * config_.patch_size;

  ASSIGN_OR_RETURN(pixels_, arena_.matrix(capacity, frame, dot));
  ASSIGN_OR_RETURN(x_, arena_.matrix(capacity, hidden, residual));
  ASSIGN_OR_RETURN(branch_, arena_.matrix(capacity, hidden, backend_->branch_dtype(block.qkv->format)));
  ASSIGN_OR_RETURN(qkv_, arena_.matrix(capacity, 3 * hidden, dot));
  ASSIGN_OR_RETURN(normed_, arena_.activation(capacity, hidden, *block.qkv));
  ASSIGN_OR_RETURN(attended_, arena_.activation(capacity, hidden, *block.proj));
  ASSIGN_OR_RETURN(inner_, arena_.activation(capacity, out_hidden, *block.down));
  ASSIGN_OR_RETURN(downsampled_in_, arena_.activation(tokens, window * hidden, *weights_.downsample));
  ASSIGN_OR_RETURN(merger_in_, arena_.activation(tokens, out_hidden, *weights_.merger_proj));
  ASSIGN_OR_RETURN(merged_, arena_.matrix(tokens, out_hidden, backend_->branch_dtype(block.qkv->format)));
  ASSIGN_OR_RETURN(merger_normed_, arena_.activation(tokens, out_hidden, *weights_.merger_gate_up));
  ASSIGN_OR_RETURN(merger_inner_, arena_.activation(tokens, config_.intermediate_size, *weights_.merger_down));

  // Rotary: pair j of a head uses row * f[j] in its first half and col * f[j - half] in its second (glm-v.md 3.2).
  const int64_t num_pairs = config_.head_dim() / 2;
  const int64_t half = num_pairs / 2;
  std::vector<float> inv_freq(static_cast<size_t>(num_pairs));
  std::vector<uint8_t> axis(static_cast<size_t>(num_pairs));
  for (int64_t j = 0; j < num_pairs; ++j) {
    const int64_t i = j < half ? j : j - half;
    const auto exponent = static_cast<float>(2 * i) / static_cast<float>(num_pairs);
    inv_freq[static_cast<size_t>(j)] = 1.0f / std::pow(static_cast<float>(config_.rope_theta), exponent);
    axis[static_cast<size_t>(j)] = j < half ? 0 : 1;
  }
  ASSIGN_OR_RETURN(inv_freq_, arena_.constant<float>(inv_freq, stream));
  ASSIGN_OR_RETURN(axis_, arena_.constant<uint8_t>(axis, stream));
  ASSIGN_OR_RETURN(cos_, arena_.array<float>(static_cast<size_t>(capacity * num_pairs)));
  ASSIGN_OR_RETURN(sin_, arena_.array<float>(static_cast<size_t>(capacity * num_pairs)));

  input_count_ = kRowsOffset + static_cast<size_t>(4 * capacity);
  ASSIGN_OR_RETURN(inputs_, arena_.array<int32_t>(input_count_));
  ASSIGN_OR_RETURN(host_inputs_, backend_->allocate(input_count_ * sizeof(int32_t), MemoryKind::kPinnedHost));
  patches_ = {inputs_, static_cast<int32_t>(capacity)};
  segments_ = {inputs_ + 1, 1};
  tokens_ = {inputs_ + 2, static_cast<int32_t>(tokens)};
  capacity_ = capacity;
  // Each picture then sets the capacities of its ops to its own size.
  return stream.reserve_workspace(workspace_bytes());
}

Status VisionTower::begin(const void* pixels, const GridThw& grid, const Matrix& out, Stream& stream) {
  CHECK(stage_ == 0, stage_);
  CHECK(grid.t == 1, grid.t);
  const int64_t patches = grid.num_patches();
  if (patches > capacity_) RETURN_IF_ERROR(grow(patches, stream));

  // The host image may still be read by the previous picture's copy, if that has not run.
  stream.synchronize();
  auto* host = host_inputs_.as<int32_t>();
  const auto merge = static_cast<int32_t>(config_.spatial_merge_size);
  host[0] = static_cast<int32_t>(patches);
  host[1] = 1;
  host[2] = static_cast<int32_t>(grid.num_tokens(merge));
  host[kSeqlensOffset] = 0;
  host[kSeqlensOffset + 1] = static_cast<int32_t>(patches);
  int32_t* row = host + kRowsOffset;
  int32_t* col = row + capacity_;
  int32_t* grid_h = col + capacity_;
  int32_t* grid_w = grid_h + capacity_;
  int64_t i = 0;
  for (int32_t wy = 0; wy < grid.h / merge; ++wy) {
    for (int32_t wx = 0; wx < grid.w / merge; ++wx) {
      for (int32_t dy = 0; dy < merge; ++dy) {
        for (int32_t dx = 0; dx < merge; ++dx, ++i) {
          row[i] = wy * merge + dy;
          col[i] = wx * merge + dx;
        }
      }
    }
  }
  std::fill_n(grid_h, patches, grid.h);
  std::fill_n(grid_w, patches, grid.w);
  stream.copy(inputs_, host, input_count_ * sizeof(int32_t));
  stream.copy(pixels_.data, pixels, static_cast<size_t>(patches * pixels_.cols) * dtype_bytes(pixels_.dtype));
  out_ = out;
  patches_.capacity = host[0];
  tokens_.capacity = host[2];
  return {};
}

bool VisionTower::advance(int32_t max_stages, Stream& stream) {
  for (; max_stages > 0; --max_stages, ++stage_) {
    if (stage_ == 0) {
      embed_patches(stream);
    } else if (stage_ < num_stages() - 1) {
      run_block(weights_.blocks[static_cast<size_t>(stage_ - 1)], stage_ == 1, stream);
    } else {
      merge(stream);
      stage_ = 0;
      return true;
    }
  }
  return false;
}

void VisionTower::embed_patches(Stream& stream) {
  patch_embed_pos(patch_args(), stream);
  rope_table({.tokens = patches_,
              .positions = inputs_ + kRowsOffset,  // rows `row` and `col`: axes 0 and 1
              .axis_stride = capacity_,
              .inv_freq = inv_freq_,
              .axis = axis_,
              .num_pairs = static_cast<int32_t>(config_.head_dim() / 2),
              .cos = cos_,
              .sin = sin_},
             stream);
}

void VisionTower::run_block(const VisionWeights::Block& block, bool first, Stream& stream) {
  add_norm(norm_args(block.norm1, !first), stream);  // adds the previous block's MLP branch
  qkv_rope_kv(qkv_args(block), stream);
  attention_varlen(attention_args(), stream);
  linear(linear_args(*block.proj, attended_, plain(branch_)), stream);
  add_norm(norm_args(block.norm2, true), stream);
  gate_up_silu(gate_up_args(block), stream);
  linear(linear_args(*block.down, inner_, plain(branch_)), stream);
}

void VisionTower::merge(Stream& stream) {
  // A window's patches are consecutive rows, so its patch rows side by side are one row of the downsampling product.
  Activation as_patches = downsampled_in_;
  as_patches.values.rows = capacity_;
  as_patches.values.cols = as_patches.values.stride = config_.hidden_size;
  AddNormArgs post = norm_args(weights_.post_layernorm, true);
  post.y = as_patches;
  add_norm(post, stream);

  const auto product = [&](const PackedLinear& weight, const Activation& x, const Activation& y) {
    linear({.rows = tokens_, .x = x, .weight = &weight, .y = y}, stream);
  };
  product(*weights_.downsample, downsampled_in_, merger_in_);
  product(*weights_.merger_proj, merger_in_, plain(merged_));
  layernorm_gelu({.rows = tokens_,
                  .x = merged_,
                  .weight = weights_.merger_norm_weight,
                  .bias = weights_.merger_norm_bias,
                  .eps = 1e-5f,
                  .y = merger_normed_},
                 stream);
  gate_up_silu({.rows = tokens_, .x = merger_normed_, .weight = weights_.merger_gate_up.get(), .y = merger_inner_},
               stream);
  product(*weights_.merger_down, merger_inner_, plain(out_));
}

AddNormArgs VisionTower::norm_args(const float* weight, bool add_branch) const {
  return {.rows = patches_,
          .x = x_,
          .branch = add_branch ? branch_ : Matrix{},
          .weight = weight,
          .eps = static_cast<float>(config_.rms_norm_eps),
          .y = normed_};
}

QkvRopeKvArgs VisionTower::qkv_args(const VisionWeights::Block& block) const {
  const auto heads = static_cast<int32_t>(config_.num_heads);
  return {.tokens = patches_,
          .x = normed_,
          .weight = block.qkv.get(),
          .num_heads = heads,
          .num_kv_heads = heads,
          .head_dim = static_cast<int32_t>(config_.head_dim()),
          .cos = cos_,
          .sin = sin_,
          .num_pairs = static_cast<int32_t>(config_.head_dim() / 2),
          .layout = RopeLayout::kHalfSplit,
          .qkv = qkv_};
}

AttentionVarlenArgs VisionTower::attention_args() const {
  return {.tokens = patches_,
          .segments = segments_,
          .cu_seqlens = inputs_ + kSeqlensOffset,
          .num_heads = static_cast<int32_t>(config_.num_heads),
          .head_dim = static_cast<int32_t>(config_.head_dim()),
          .scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim())),
          .qkv = qkv_,
          .out = attended_};
}

GateUpSiluArgs VisionTower::gate_up_args(const VisionWeights::Block& block) const {
  return {.rows = patches_, .x = normed_, .weight = block.gate_up.get(), .y = inner_};
}

LinearArgs VisionTower::linear_args(const PackedLinear& weight, const Activation& x, const Activation& y) const {
  return {.rows = patches_, .x = x, .weight = &weight, .y = y};
}

PatchEmbedPosArgs VisionTower::patch_args() const {
  const int32_t* row = inputs_ + kRowsOffset;
  return {.patches = patches_,
          .pixels = pixels_,
          .weight = weights_.patch_embed.get(),
          .norm_weight = weights_.post_conv_layernorm,
          .eps = static_cast<float>(config_.rms_norm_eps),
          .table = weights_.position_embedding,
          .table_side = static_cast<int32_t>(config_.positions_per_side()),
          .row = row,
          .col = row + capacity_,
          .grid_h = row + 2 * capacity_,
          .grid_w = row + 3 * capacity_,
          .x = x_};
}

size_t VisionTower::workspace_bytes() const {
  const OpTable& ops = backend_->ops();
  const VisionWeights::Block& block = weights_.blocks.front();
  const auto product = [&](const PackedLinear& weight, const Activation& x) {
    return ops.linear_workspace({.rows = tokens_, .x = x, .weight = &weight, .y = plain(merged_)});
  };
  return std::max(
      {ops.patch_embed_pos_workspace(patch_args()), ops.qkv_rope_kv_workspace(qkv_args(block)),
       ops.attention_varlen_workspace(attention_args()), ops.gate_up_silu_workspace(gate_up_args(block)),
       ops.linear_workspace(linear_args(*block.proj, attended_, plain(branch_))),
       ops.linear_workspace(linear_args(*block.down, inner_, plain(branch_))),
       product(*weights_.downsample, downsampled_in_), product(*weights_.merger_proj, merger_in_),
       ops.gate_up_silu_workspace(
           {.rows = tokens_, .x = merger_normed_, .weight = weights_.merger_gate_up.get(), .y = merger_inner_}),
       product(*weights_.merger_down, merger_inner_)});
}

}  // namespace glimpse
