#include "model/vision_tower.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/check.h"

namespace glimpse {

namespace {

// Places in the int32 inputs: three counts come first, then the segment bounds, then the four rows of coordinates.
constexpr size_t kSeqlensOffset = 16;
constexpr size_t kRowsOffset = 32;

// The smallest slices. Rows: whole tiles of every kernel and whole merge windows; fewer would read the weights too
// often for what they compute. Queries: the keys and values of a head are packed anew for each slice, 5 % of this many.
constexpr int64_t kSliceRows = 48;
constexpr int64_t kSliceQueries = 480;

// What an element of elementwise work (norms, rope, quantisation) takes, in operations of a product.
constexpr double kElementFlops = 16;

}  // namespace

Result<std::unique_ptr<VisionTower>> VisionTower::create(Backend& backend, const VisionConfig& config,
                                                         VisionWeights weights) {
  auto tower = std::unique_ptr<VisionTower>(new VisionTower(backend, config));
  tower->weights_ = std::move(weights);
  // A device takes a millisecond for a phase, and its kernels want all rows at once.
  tower->whole_phases_ = !backend.shares_host_memory();
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
  std::vector<int32_t> iota(static_cast<size_t>(capacity) + 1);
  std::iota(iota.begin(), iota.end(), 0);
  ASSIGN_OR_RETURN(iota_, arena_.constant<int32_t>(iota, stream));
  capacity_ = capacity;
  // Each picture then sets the capacities of its ops to its own size.
  return stream.reserve_workspace(workspace_bytes());
}

Status VisionTower::begin(const PixelSource& pixels, const GridThw& grid, const Matrix& out, Stream& stream) {
  CHECK(!busy_);
  CHECK(grid.t == 1, grid.t);
  const int64_t patches = grid.num_patches();
  if (patches > capacity_) RETURN_IF_ERROR(grow(patches, stream));

  // The host image may still be read by the previous picture's copy, if that has not run.
  stream.synchronize();
  auto* host = host_inputs_.as<int32_t>();
  const auto merge = static_cast<int32_t>(config_.spatial_merge_size);
  host[0] = static_cast<int32_t>(patches);
  host[1] = 1;
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
  if (pixels.block != nullptr) {
    CHECK(pixels.block->num_patches() == patches, pixels.block->num_patches(), patches);
    RETURN_IF_ERROR(cut(pixels, stream));
  } else {
    stream.copy(pixels_.data, pixels.data, static_cast<size_t>(patches * pixels_.cols) * dtype_bytes(pixels_.dtype));
  }
  out_ = out;
  patches_.capacity = host[0];
  num_patches_ = patches;
  num_tokens_ = grid.num_tokens(merge);
  busy_ = true;
  phase_ = Phase::kEmbed;
  block_ = 0;
  done_ = 0;
  flops_done_ = 0;
  const auto all = [&](Phase phase, int64_t rows) { return row_flops(phase) * static_cast<double>(rows); };
  const double one_block =
      all(Phase::kQkv, patches) + all(Phase::kMlp, patches) + all(Phase::kAttention, patches * config_.num_heads);
  total_flops_ = all(Phase::kEmbed, patches) + one_block * static_cast<double>(weights_.blocks.size()) +
                 all(Phase::kMerge, num_tokens_);
  return {};
}

// Makes the patches of a block; the stream is idle.
Status VisionTower::cut(const PixelSource& picture, Stream& stream) {
  const size_t bytes = picture.block->bytes;
  if (bytes > block_memory_.bytes()) {
    block_memory_ = {};
    ASSIGN_OR_RETURN(block_memory_, backend_->allocate(bytes + bytes / 4, MemoryKind::kDevice));
  }
  const CutPictureArgs args{.layout = *picture.block, .block = block_memory_.as<std::byte>(), .patches = pixels_};
  RETURN_IF_ERROR(stream.reserve_workspace(backend_->ops().cut_picture_workspace(args)));
  stream.copy(block_memory_.data(), picture.data, bytes);
  cut_picture(args, stream);
  return {};
}

bool VisionTower::advance(double max_flops, Stream& stream) {
  CHECK(busy_);
  double left = max_flops;
  do {
    const double spent = advance_phase(left, stream);
    left -= spent;
    flops_done_ += spent;
    if (done_ == phase_rows() && next_phase()) {
      busy_ = false;
      return true;
    }
  } while (left >= slice_flops());
  return false;
}

void VisionTower::abandon() {
  busy_ = false;
}

bool VisionTower::next_phase() {
  done_ = 0;
  switch (phase_) {
    case Phase::kEmbed:
      phase_ = Phase::kQkv;
      return false;
    case Phase::kQkv:
      phase_ = Phase::kAttention;
      return false;
    case Phase::kAttention:
      phase_ = Phase::kMlp;
      return false;
    case Phase::kMlp:
      phase_ = ++block_ < weights_.blocks.size() ? Phase::kQkv : Phase::kMerge;
      return false;
    case Phase::kMerge:
      break;
  }
  return true;
}

int64_t VisionTower::phase_rows() const {
  switch (phase_) {
    case Phase::kAttention:
      return num_patches_ * config_.num_heads;
    case Phase::kMerge:
      return num_tokens_;
    default:
      return num_patches_;
  }
}

double VisionTower::row_flops(Phase phase) const {
  const auto product = [](const PackedLinear& weight) {
    return 2 * static_cast<double>(weight.rows) * static_cast<double>(weight.cols);
  };
  const VisionWeights::Block& b = weights_.blocks.front();
  const auto hidden = static_cast<double>(config_.hidden_size);
  switch (phase) {
    case Phase::kEmbed:
      return product(*weights_.patch_embed) + 2 * kElementFlops * hidden;
    case Phase::kQkv:
      return product(*b.qkv) + 4 * kElementFlops * hidden;
    case Phase::kAttention:
      return 4 * static_cast<double>(num_patches_) * static_cast<double>(config_.head_dim());
    case Phase::kMlp:
      return product(*b.proj) + product(*b.gate_up) + product(*b.down) + 2 * kElementFlops * hidden;
    case Phase::kMerge:
      return product(*weights_.downsample) + product(*weights_.merger_proj) + product(*weights_.merger_gate_up) +
             product(*weights_.merger_down) + 4 * kElementFlops * hidden;
  }
  return 0;
}

double VisionTower::slice_flops() const {
  if (whole_phases_) return row_flops(phase_) * static_cast<double>(phase_rows());
  const double together = heads_apart() ? 1 : static_cast<double>(config_.num_heads);
  return row_flops(phase_) * (phase_ == Phase::kAttention ? together * kSliceQueries : kSliceRows);
}

bool VisionTower::heads_apart() const {
  return attended_.values.dtype != DType::kI8 || config_.head_dim() % static_cast<int64_t>(attended_.group) == 0;
}

// Some rows of the phase, at least a slice; returns what they cost.
double VisionTower::advance_phase(double max_flops, Stream& stream) {
  if (whole_phases_) max_flops = std::numeric_limits<double>::infinity();
  const double cost = row_flops(phase_);
  if (phase_ == Phase::kAttention) return cost * static_cast<double>(attend(max_flops, stream));
  const int64_t left = phase_rows() - done_;
  const double affordable = max_flops / cost;
  const int64_t slices = std::max<int64_t>(1, static_cast<int64_t>(std::min(affordable, 1e9)) / kSliceRows);
  const int64_t count = std::min(left, slices * kSliceRows);
  switch (phase_) {
    case Phase::kEmbed:
      embed_patches(done_, count, stream);
      break;
    case Phase::kQkv:
      project_qkv(done_, count, stream);
      break;
    case Phase::kMlp:
      run_mlp(done_, count, stream);
      break;
    default:
      merge(done_, count, stream);
      break;
  }
  done_ += count;
  return cost * static_cast<double>(count);
}

// Whole heads when they are affordable, else some queries of one head (of all heads, when a quantisation group has
// columns of several).
int64_t VisionTower::attend(double max_flops, Stream& stream) {
  AttentionVarlenArgs args = attention_args();
  const int64_t heads = heads_apart() ? 1 : config_.num_heads;  // that go together
  const auto affordable = static_cast<int64_t>(std::min(max_flops / row_flops(Phase::kAttention), 1e12));
  const int64_t first_query = done_ / heads % num_patches_;
  int64_t queries = num_patches_ - first_query;
  args.first_head = static_cast<int32_t>(done_ / (num_patches_ * heads) * heads);
  args.part_heads = static_cast<int32_t>(heads);
  if (first_query == 0 && affordable >= num_patches_ * heads) {
    args.part_heads = static_cast<int32_t>(
        std::min<int64_t>(config_.num_heads - args.first_head, affordable / (num_patches_ * heads) * heads));
  } else {
    queries = std::min(queries, std::max<int64_t>(1, affordable / heads / kSliceQueries) * kSliceQueries);
  }
  args.first_query = static_cast<int32_t>(first_query);
  args.part_queries = static_cast<int32_t>(queries);
  attention_varlen(args, stream);
  done_ += queries * args.part_heads;
  return queries * args.part_heads;
}

void VisionTower::embed_patches(int64_t first, int64_t count, Stream& stream) {
  patch_embed_pos(patch_args(first, count), stream);
  if (first > 0) return;
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

void VisionTower::project_qkv(int64_t first, int64_t count, Stream& stream) {
  add_norm(norm_args(block().norm1, block_ > 0, first, count), stream);  // adds the previous block's MLP branch
  qkv_rope_kv(qkv_args(block(), first, count), stream);
}

void VisionTower::run_mlp(int64_t first, int64_t count, Stream& stream) {
  linear(linear_args(*block().proj, attended_, plain(branch_), first, count), stream);
  add_norm(norm_args(block().norm2, true, first, count), stream);
  gate_up_silu(gate_up_args(block(), first, count), stream);
  linear(linear_args(*block().down, inner_, plain(branch_), first, count), stream);
}

// Rows are windows here.
void VisionTower::merge(int64_t first, int64_t count, Stream& stream) {
  // A window's patches are consecutive rows, so its patch rows side by side are one row of the downsampling product.
  const int64_t window = config_.spatial_merge_size * config_.spatial_merge_size;
  Activation as_patches = downsampled_in_;
  as_patches.values.rows = capacity_;
  as_patches.values.cols = as_patches.values.stride = config_.hidden_size;
  AddNormArgs post = norm_args(weights_.post_layernorm, true, first * window, count * window);
  post.y = rows_of(as_patches, first * window, count * window);
  add_norm(post, stream);

  linear(linear_args(*weights_.downsample, downsampled_in_, merger_in_, first, count), stream);
  linear(linear_args(*weights_.merger_proj, merger_in_, plain(merged_), first, count), stream);
  layernorm_gelu({.rows = rows(count),
                  .x = rows_of(merged_, first, count),
                  .weight = weights_.merger_norm_weight,
                  .bias = weights_.merger_norm_bias,
                  .eps = 1e-5f,
                  .y = rows_of(merger_normed_, first, count)},
                 stream);
  gate_up_silu({.rows = rows(count),
                .x = rows_of(merger_normed_, first, count),
                .weight = weights_.merger_gate_up.get(),
                .y = rows_of(merger_inner_, first, count)},
               stream);
  linear(linear_args(*weights_.merger_down, merger_inner_, plain(out_), first, count), stream);
}

AddNormArgs VisionTower::norm_args(const float* weight, bool add_branch, int64_t first, int64_t count) const {
  return {.rows = rows(count),
          .x = rows_of(x_, first, count),
          .branch = add_branch ? rows_of(branch_, first, count) : Matrix{},
          .weight = weight,
          .eps = static_cast<float>(config_.rms_norm_eps),
          .y = rows_of(normed_, first, count)};
}

QkvRopeKvArgs VisionTower::qkv_args(const VisionWeights::Block& block, int64_t first, int64_t count) const {
  const auto heads = static_cast<int32_t>(config_.num_heads);
  const int64_t pairs = config_.head_dim() / 2;
  return {.tokens = rows(count),
          .x = rows_of(normed_, first, count),
          .weight = block.qkv.get(),
          .num_heads = heads,
          .num_kv_heads = heads,
          .head_dim = static_cast<int32_t>(config_.head_dim()),
          .cos = cos_ + first * pairs,
          .sin = sin_ + first * pairs,
          .num_pairs = static_cast<int32_t>(pairs),
          .layout = RopeLayout::kHalfSplit,
          .qkv = rows_of(qkv_, first, count)};
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

GateUpSiluArgs VisionTower::gate_up_args(const VisionWeights::Block& block, int64_t first, int64_t count) const {
  return {.rows = rows(count),
          .x = rows_of(normed_, first, count),
          .weight = block.gate_up.get(),
          .y = rows_of(inner_, first, count)};
}

LinearArgs VisionTower::linear_args(const PackedLinear& weight, const Activation& x, const Activation& y, int64_t first,
                                    int64_t count) const {
  return {.rows = rows(count), .x = rows_of(x, first, count), .weight = &weight, .y = rows_of(y, first, count)};
}

PatchEmbedPosArgs VisionTower::patch_args(int64_t first, int64_t count) const {
  const int32_t* row = inputs_ + kRowsOffset + first;
  return {.patches = rows(count),
          .pixels = rows_of(pixels_, first, count),
          .weight = weights_.patch_embed.get(),
          .norm_weight = weights_.post_conv_layernorm,
          .eps = static_cast<float>(config_.rms_norm_eps),
          .table = weights_.position_embedding,
          .table_side = static_cast<int32_t>(config_.positions_per_side()),
          .row = row,
          .col = row + capacity_,
          .grid_h = row + 2 * capacity_,
          .grid_w = row + 3 * capacity_,
          .x = rows_of(x_, first, count)};
}

size_t VisionTower::workspace_bytes() const {
  const OpTable& ops = backend_->ops();
  const VisionWeights::Block& block = weights_.blocks.front();
  const int64_t tokens = merged_.rows;
  const auto product = [&](const PackedLinear& weight, const Activation& x, const Activation& y, int64_t count) {
    return ops.linear_workspace(linear_args(weight, x, y, 0, count));
  };
  return std::max(
      {ops.patch_embed_pos_workspace(patch_args(0, capacity_)),
       ops.qkv_rope_kv_workspace(qkv_args(block, 0, capacity_)), ops.attention_varlen_workspace(attention_args()),
       ops.gate_up_silu_workspace(gate_up_args(block, 0, capacity_)),
       product(*block.proj, attended_, plain(branch_), capacity_),
       product(*block.down, inner_, plain(branch_), capacity_),
       product(*weights_.downsample, downsampled_in_, merger_in_, tokens),
       product(*weights_.merger_proj, merger_in_, plain(merged_), tokens),
       ops.gate_up_silu_workspace(
           {.rows = rows(tokens), .x = merger_normed_, .weight = weights_.merger_gate_up.get(), .y = merger_inner_}),
       product(*weights_.merger_down, merger_inner_, plain(merged_), tokens)});
}

}  // namespace glimpse
