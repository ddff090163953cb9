#include "kernels/ops.h"

#include "base/check.h"

namespace glimpse {

namespace {

const OpTable& table(const Stream& stream) {
  return stream.backend().ops();
}

bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16;
}

void check_rows(const Rows& rows) {
  CHECK(rows.count != nullptr && rows.capacity >= 0, rows.capacity);
}

void check_matrix(const Matrix& m, int64_t rows, int64_t cols) {
  CHECK(m.data != nullptr);
  CHECK(m.rows >= rows && m.cols == cols && m.stride >= cols, m.rows, m.cols, m.stride, rows, cols);
}

// A matrix in one of the formats that activations and residuals have.
void check_float_matrix(const Matrix& m, int64_t rows, int64_t cols) {
  check_matrix(m, rows, cols);
  CHECK(is_float(m.dtype), dtype_name(m.dtype));
}

void check_activation(const Activation& a, int64_t rows, int64_t cols) {
  check_matrix(a.values, rows, cols);
  if (a.values.dtype == DType::kI8) {
    CHECK(a.scales != nullptr && (a.group == 32 || a.group == 128), a.group);
  } else {
    CHECK(is_float(a.values.dtype), dtype_name(a.values.dtype));
  }
}

// An activation as the product with `weight` wants it.
void check_input(const Activation& x, const PackedLinear* weight, int64_t rows) {
  CHECK(weight != nullptr);
  check_activation(x, rows, weight->cols);
  CHECK(x.values.dtype == weight->input_dtype(), dtype_name(x.values.dtype), dtype_name(weight->input_dtype()));
  if (x.values.dtype == DType::kI8) CHECK(x.group == weight->group, x.group, weight->group);
}

}  // namespace

void embed(const EmbedArgs& args, Stream& stream) {
  check_rows(args.tokens);
  CHECK(args.token_ids != nullptr);
  check_float_matrix(args.x, args.tokens.capacity, args.table.cols);
  CHECK(args.table.data != nullptr && args.table.stride >= args.table.cols, args.table.stride, args.table.cols);
  CHECK(is_float(args.table.dtype) || args.table.dtype == DType::kF16, dtype_name(args.table.dtype));
  if (args.images) check_float_matrix(args.images, 0, args.x.cols);
  table(stream).embed(args, stream);
}

void add_norm(const AddNormArgs& args, Stream& stream) {
  check_rows(args.rows);
  CHECK(args.weight != nullptr);
  check_float_matrix(args.x, args.row_idx == nullptr ? args.rows.capacity : 1, args.x.cols);
  if (args.branch) check_float_matrix(args.branch, args.row_idx == nullptr ? args.rows.capacity : 1, args.x.cols);
  check_activation(args.y, args.rows.capacity, args.x.cols);
  table(stream).add_norm(args, stream);
}

void rope_table(const RopeTableArgs& args, Stream& stream) {
  check_rows(args.tokens);
  CHECK(args.num_pairs > 0, args.num_pairs);
  CHECK(args.positions != nullptr && args.inv_freq != nullptr && args.axis != nullptr);
  CHECK(args.cos != nullptr && args.sin != nullptr);
  table(stream).rope_table(args, stream);
}

void qkv_rope_kv(const QkvRopeKvArgs& args, Stream& stream) {
  check_rows(args.tokens);
  check_input(args.x, args.weight, args.tokens.capacity);
  const int64_t q_cols = int64_t{args.num_heads} * args.head_dim;
  const int64_t kv_cols = int64_t{args.num_kv_heads} * args.head_dim;
  CHECK(args.num_kv_heads > 0 && args.num_heads % args.num_kv_heads == 0, args.num_heads, args.num_kv_heads);
  CHECK(args.head_dim % 2 == 0 && args.head_dim >= 2 * args.num_pairs, args.head_dim, args.num_pairs);
  CHECK(args.weight->rows == q_cols + 2 * kv_cols, args.weight->rows, q_cols, kv_cols);
  CHECK(args.num_pairs == 0 || (args.cos != nullptr && args.sin != nullptr), args.num_pairs);
  if (args.kv == nullptr) {
    check_float_matrix(args.qkv, args.tokens.capacity, q_cols + 2 * kv_cols);
  } else {
    const KvSpec& kv = args.kv->spec;
    CHECK(!args.qkv && args.slot_mapping != nullptr);
    CHECK(kv.num_kv_heads == args.num_kv_heads && kv.head_dim == args.head_dim, kv.num_kv_heads, kv.head_dim);
    CHECK(args.layer >= 0 && args.layer < kv.num_layers, args.layer, kv.num_layers);
    check_float_matrix(args.q, args.tokens.capacity, q_cols);
  }
  table(stream).qkv_rope_kv(args, stream);
}

void attention_paged(const AttentionPagedArgs& args, Stream& stream) {
  check_rows(args.tokens);
  check_rows(args.seqs);
  CHECK(args.kv != nullptr && args.cu_seqlens != nullptr && args.context_lens != nullptr);
  CHECK(args.block_table != nullptr && args.max_blocks > 0, args.max_blocks);
  const KvSpec& kv = args.kv->spec;
  CHECK(args.layer >= 0 && args.layer < kv.num_layers, args.layer, kv.num_layers);
  CHECK(args.num_heads > 0 && args.num_heads % kv.num_kv_heads == 0, args.num_heads, kv.num_kv_heads);
  CHECK(args.scale > 0, args.scale);
  check_float_matrix(args.q, args.tokens.capacity, int64_t{args.num_heads} * kv.head_dim);
  check_activation(args.out, args.tokens.capacity, int64_t{args.num_heads} * kv.head_dim);
  CHECK(args.out.values.data != args.q.data);
  table(stream).attention_paged(args, stream);
}

void attention_varlen(const AttentionVarlenArgs& args, Stream& stream) {
  check_rows(args.tokens);
  check_rows(args.segments);
  CHECK(args.cu_seqlens != nullptr);
  CHECK(args.num_heads > 0 && args.head_dim > 0 && args.head_dim % 2 == 0 && args.head_dim <= kMaxHeadDim,
        args.num_heads, args.head_dim);
  CHECK(args.scale > 0, args.scale);
  const int64_t width = int64_t{args.num_heads} * args.head_dim;
  check_float_matrix(args.qkv, args.tokens.capacity, 3 * width);
  check_activation(args.out, args.tokens.capacity, width);
  CHECK(args.out.values.data != args.qkv.data);
  CHECK(args.first_head >= 0 && args.first_query >= 0, args.first_head, args.first_query);
  CHECK(args.end_head() <= args.num_heads && args.end_query() <= args.tokens.capacity, args.end_head(),
        args.end_query());
  const bool all_heads = args.end_head() - args.first_head == args.num_heads;
  CHECK(all_heads || args.out.values.dtype != DType::kI8 || args.head_dim % args.out.group == 0, args.head_dim);
  table(stream).attention_varlen(args, stream);
}

void gate_up_silu(const GateUpSiluArgs& args, Stream& stream) {
  check_rows(args.rows);
  check_input(args.x, args.weight, args.rows.capacity);
  CHECK(args.weight->consumer == LinearConsumer::kGateUp && args.weight->rows % 2 == 0, args.weight->rows);
  check_activation(args.y, args.rows.capacity, args.weight->rows / 2);
  table(stream).gate_up_silu(args, stream);
}

void linear(const LinearArgs& args, Stream& stream) {
  check_rows(args.rows);
  check_input(args.x, args.weight, args.rows.capacity);
  check_activation(args.y, args.rows.capacity, args.weight->rows);
  table(stream).linear(args, stream);
}

void layernorm_gelu(const LayerNormGeluArgs& args, Stream& stream) {
  check_rows(args.rows);
  CHECK(args.weight != nullptr && args.bias != nullptr);
  check_float_matrix(args.x, args.rows.capacity, args.x.cols);
  check_activation(args.y, args.rows.capacity, args.x.cols);
  table(stream).layernorm_gelu(args, stream);
}

void patch_embed_pos(const PatchEmbedPosArgs& args, Stream& stream) {
  check_rows(args.patches);
  check_input({.values = args.pixels}, args.weight, args.patches.capacity);
  CHECK(args.norm_weight != nullptr && args.table != nullptr && args.table_side > 0, args.table_side);
  CHECK(args.row != nullptr && args.col != nullptr && args.grid_h != nullptr && args.grid_w != nullptr);
  check_float_matrix(args.x, args.patches.capacity, args.weight->rows);
  table(stream).patch_embed_pos(args, stream);
}

void cut_picture(const CutPictureArgs& args, Stream& stream) {
  CHECK(table(stream).cut_picture != nullptr);
  const PictureBlock& layout = args.layout;
  const int32_t window = layout.patch_size * layout.merge_size;
  CHECK(args.block != nullptr && window > 0, window);
  CHECK(layout.across.out % window == 0 && layout.down.out % window == 0, layout.across.out, layout.down.out, window);
  check_float_matrix(args.patches, layout.num_patches(), layout.patch_values());
  table(stream).cut_picture(args, stream);
}

void sample(const SampleArgs& args, Stream& stream) {
  check_rows(args.rows);
  CHECK(table(stream).sample != nullptr);
  check_matrix(args.logits, args.rows.capacity, args.logits.cols);
  CHECK(args.logits.dtype == DType::kF32, dtype_name(args.logits.dtype));
  CHECK(args.row_slots != nullptr && args.slots != nullptr && args.last_ids != nullptr && args.ids != nullptr);
  table(stream).sample(args, stream);
}

Cost linear_cost(const PackedLinear& weight, int64_t rows) {
  const auto n = static_cast<double>(weight.rows);
  const auto k = static_cast<double>(weight.cols);
  const auto m = static_cast<double>(rows);
  const auto activation_bytes = static_cast<double>(dtype_bytes(weight.input_dtype()));
  return {.bytes = static_cast<double>(weight.bytes().size()) + m * (k * activation_bytes + n * sizeof(float)),
          .flops = 2 * m * n * k};
}

Cost attention_cost(int64_t queries, int64_t context, int32_t num_heads, int32_t num_kv_heads, int32_t head_dim,
                    DType kv_dtype) {
  const double kv_bytes =
      2.0 * static_cast<double>(context) * num_kv_heads * head_dim * static_cast<double>(dtype_bytes(kv_dtype));
  const double q_bytes =
      2.0 * static_cast<double>(queries) * num_heads * head_dim * static_cast<double>(dtype_bytes(kv_dtype));
  return {.bytes = kv_bytes + q_bytes,
          .flops = 4.0 * static_cast<double>(queries) * static_cast<double>(context) * num_heads * head_dim};
}

}  // namespace glimpse
