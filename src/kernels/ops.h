#pragma once

// The ops: the largest things any back end fuses. Each takes its arguments by value (model constants, capacities,
// device addresses) and is enqueued on a stream; enqueueing never allocates, never synchronises, never looks at device
// data. Shapes are checked here once (ops.cc), then the stream's back end runs it. Truth is defined by
// kernels/reference; tolerances are in docs/numerics.md.
//
// Rows beyond a step's count are padding: never read for their value, never written.

#include <cstdint>

#include "kernels/backend.h"
#include "tensor/picture_block.h"
#include "tensor/tensor.h"

namespace glimpse {

constexpr int32_t kMaxHeadDim = 256;  // head_dim is even and at most this

// How many rows an op works on: read from device memory when the op runs; at most `capacity`.
struct Rows {
  const int32_t* count = nullptr;
  int32_t capacity = 0;
};

// Cost of one op at given row counts, for the scheduler's time slices, the planner and the benches.
struct Cost {
  double bytes = 0;  // read and written once, weights included
  double flops = 0;  // a multiply-add counts 2
};

// x[t] = the embedding of token t.
struct EmbedArgs {
  Rows tokens;
  const int32_t* token_ids = nullptr;   // [tokens]: >= 0 a vocabulary id; -1 - slot: last_ids[slot]
  const int32_t* last_ids = nullptr;    // [slots], device state written by sampling
  const int32_t* image_rows = nullptr;  // [tokens]: >= 0 this row of `images` replaces the embedding; -1: none
  Matrix table;                         // [vocab, hidden] bf16, f16 or f32; may be a file mapping
  Matrix images;                        // [image rows, hidden] f32 or bf16; may be empty
  Matrix x;                             // [tokens, hidden] out, residual dtype
};

// Residual add and RMSNorm: x += RMS(branch; branch_weight) or x += branch; y = RMS(x; weight).
//   RMS(v; w) = v / sqrt(mean(v^2) + eps) * w, all in float32 (glm-v.md 2.5).
struct AddNormArgs {
  Rows rows;
  const int32_t* row_idx = nullptr;      // null: row r of y comes from row r of x and branch; else from row_idx[r], and
                                         // only those rows of x are updated
  Matrix x;                              // [*, hidden] in and out, residual dtype
  Matrix branch;                         // [*, hidden] f32 or bf16; empty: nothing is added
  const float* branch_weight = nullptr;  // [hidden]; null: branch is added as it is
  const float* weight = nullptr;         // [hidden]
  float eps = 1e-5f;
  Activation y;  // [rows, hidden] out
};

// cos and sin of the rotary angles: angle[t, i] = positions[axis[i], t] * inv_freq[i].
struct RopeTableArgs {
  Rows tokens;
  const int32_t* positions = nullptr;  // [num_axes, axis_stride]
  int64_t axis_stride = 0;             // 0: tokens.capacity
  const float* inv_freq = nullptr;     // [num_pairs]
  const uint8_t* axis = nullptr;       // [num_pairs]: which row of positions
  int32_t num_pairs = 0;
  float* cos = nullptr;  // [tokens, num_pairs] out
  float* sin = nullptr;
};

enum class RopeLayout : uint8_t {
  kInterleaved,  // pair i is elements (2i, 2i + 1): glm4v text
  kHalfSplit,    // pair i is elements (i, i + num_pairs): the vision tower
};

// qkv = W x + b; rope on the first 2 * num_pairs elements of each q and k head; then either k and v go to the paged
// cache and q to `q` (text), or all of it to `qkv` (vision).
struct QkvRopeKvArgs {
  Rows tokens;
  Activation x;                          // [tokens, hidden]
  const PackedLinear* weight = nullptr;  // [(num_heads + 2 num_kv_heads) head_dim, hidden], consumer kQkv
  int32_t num_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  const float* cos = nullptr;  // [tokens, num_pairs] from rope_table
  const float* sin = nullptr;
  int32_t num_pairs = 0;
  RopeLayout layout = RopeLayout::kInterleaved;
  KvCache* kv = nullptr;  // text
  int32_t layer = 0;
  const int32_t* slot_mapping = nullptr;  // [tokens]: slot of each token's k and v; -1 writes nothing
  Matrix q;                               // [tokens, num_heads head_dim] out, f32 or bf16 (text)
  Matrix qkv;                             // [tokens, (num_heads + 2 num_kv_heads) head_dim] out, f32 or bf16 (vision)
};

// Causal attention of each query over its sequence's paged KV; the queries of a sequence are its last tokens.
// Scores and sums in float32. A query that sees nothing yields zeros. cu_seqlens and context_lens have entries for the
// whole capacity of seqs; those beyond the count are read, and ignored.
struct AttentionPagedArgs {
  Rows tokens;
  Rows seqs;
  const int32_t* cu_seqlens = nullptr;    // [seqs + 1]: query tokens of sequence s are [cu[s], cu[s + 1])
  const int32_t* context_lens = nullptr;  // [seqs]: tokens visible to the last query, itself included
  const int32_t* block_table = nullptr;   // [seqs, max_blocks], rows valid up to ceil(context_len / block_size)
  int32_t max_blocks = 0;
  const KvCache* kv = nullptr;
  int32_t layer = 0;
  int32_t num_heads = 0;  // query head h reads kv head h / (num_heads / num_kv_heads)
  float scale = 0;
  Matrix q;        // [tokens, num_heads head_dim]
  Activation out;  // [tokens, num_heads head_dim]
};

// Bidirectional attention inside each segment (an image, or a frame of a video).
struct AttentionVarlenArgs {
  Rows tokens;
  Rows segments;
  const int32_t* cu_seqlens = nullptr;  // [segments + 1]
  int32_t num_heads = 0;
  int32_t head_dim = 0;
  float scale = 0;
  Matrix qkv;      // [tokens, 3 num_heads head_dim]: q | k | v
  Activation out;  // [tokens, num_heads head_dim]
  // A slice of the work, for callers that cannot wait for all of it: heads [first_head, first_head + part_heads) of the
  // queries [first_query, first_query + part_queries); the rest of `out` stays as it is. 0 parts: all. Some heads only
  // when no quantisation group of `out` has columns of two heads. Slices give the same bits as the whole.
  int32_t first_head = 0;
  int32_t part_heads = 0;
  int32_t first_query = 0;
  int32_t part_queries = 0;

  int32_t end_head() const { return part_heads == 0 ? num_heads : first_head + part_heads; }
  int32_t end_query() const { return part_queries == 0 ? tokens.capacity : first_query + part_queries; }
};

// y = silu(g) * u with [g | u] = W x + b.
struct GateUpSiluArgs {
  Rows rows;
  Activation x;                          // [rows, K]
  const PackedLinear* weight = nullptr;  // [2 F, K], consumer kGateUp
  Activation y;                          // [rows, F] out
};

enum class Epilogue : uint8_t { kNone, kGelu };  // kGelu: 0.5 x (1 + erf(x / sqrt 2))

// y = epilogue(W x + b).
struct LinearArgs {
  Rows rows;
  Activation x;                          // [rows, K]
  const PackedLinear* weight = nullptr;  // [N, K]
  Epilogue epilogue = Epilogue::kNone;
  Activation y;  // [rows, N] out
};

// y = gelu(LayerNorm(x; weight, bias)), the vision merger's pair: mean and variance over cols, erf gelu.
struct LayerNormGeluArgs {
  Rows rows;
  Matrix x;  // [rows, hidden] f32 or bf16
  const float* weight = nullptr;
  const float* bias = nullptr;
  float eps = 1e-5f;
  Activation y;
};

// A decoded picture, resized, normalised and cut into the patches that the vision tower reads, in merge-window order
// (window row, window column, then the merge_size^2 patches inside, row-major); columns: channel, y, x.
struct CutPictureArgs {
  PictureBlock layout;               // sides of the resized picture are multiples of patch_size merge_size
  const std::byte* block = nullptr;  // layout.bytes, 64-byte aligned
  Matrix patches;                    // [layout.num_patches(), layout.patch_values()] out, f32 or bf16
};

// x = RMS(W p + b; norm_weight) + the position embedding, sampled bicubically (glm-v.md 3.1) from a square table.
struct PatchEmbedPosArgs {
  Rows patches;
  Matrix pixels;                         // [patches, K] f32 or bf16, as weight->input_dtype()
  const PackedLinear* weight = nullptr;  // [hidden, K], never quantised
  const float* norm_weight = nullptr;    // [hidden]
  float eps = 1e-5f;
  const float* table = nullptr;  // [table_side^2, hidden] f32
  int32_t table_side = 0;
  const int32_t* row = nullptr;  // [patches] of each patch in its grid
  const int32_t* col = nullptr;
  const int32_t* grid_h = nullptr;  // [patches]: the grid of the patch's image, in patches
  const int32_t* grid_w = nullptr;
  Matrix x;  // [patches, hidden] out, residual dtype
};

// How a slot draws its tokens: device memory, written by the host when the slot is opened (stream order). The meaning
// is that of the host's sampler, in its order: bias and masked stop ids, penalties, temperature, top_k, top_p, min_p,
// draw with Philox4x32-10 of (seed, position).
struct SampleSlot {
  static constexpr int32_t kMaxBias = 320;
  static constexpr int32_t kMaxStop = 32;

  float temperature = 0;  // 0: the likeliest
  int32_t top_k = 0;      // 0: all
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  float frequency_penalty = 0;
  float presence_penalty = 0;
  int32_t min_tokens = 0;  // stop ids are masked before that position
  uint64_t seed = 0;
  uint64_t position = 0;  // tokens drawn; the op counts on
  int32_t on_host = 0;    // 1: not drawn by the op
  int32_t has_penalties = 0;
  int32_t num_bias = 0;
  int32_t num_stop = 0;
  int32_t bias_ids[kMaxBias] = {};  // inside the vocabulary, each once
  float bias_values[kMaxBias] = {};
  int32_t stop_ids[kMaxStop] = {};  // inside the vocabulary
};

// Draws a token for each row whose slot is not -1, writes it to ids[row] and to last_ids[slot], and remembers it.
// Equal logits go to the lower id; NaN is never drawn.
struct SampleArgs {
  // Of a slot's history: a token of the prompt; the rest counts how often it is in the answer, up to the mask.
  static constexpr uint16_t kInPrompt = 0x8000;
  static constexpr uint16_t kCountMask = 0x7fff;

  Rows rows;
  const int32_t* row_slots = nullptr;  // [rows]
  Matrix logits;                       // [rows, vocab] f32
  SampleSlot* slots = nullptr;         // [max slots]
  uint16_t* history = nullptr;         // [max slots, vocab], read where has_penalties
  int32_t* last_ids = nullptr;         // [max slots]
  int32_t* ids = nullptr;              // [rows], device or pinned host memory
};

// One function per op. `workspace` entries give the scratch bytes an op needs at the capacities in its arguments.
struct OpTable {
  void (*embed)(const EmbedArgs&, Stream&);
  void (*add_norm)(const AddNormArgs&, Stream&);
  void (*rope_table)(const RopeTableArgs&, Stream&);
  void (*qkv_rope_kv)(const QkvRopeKvArgs&, Stream&);
  void (*attention_paged)(const AttentionPagedArgs&, Stream&);
  void (*attention_varlen)(const AttentionVarlenArgs&, Stream&);
  void (*gate_up_silu)(const GateUpSiluArgs&, Stream&);
  void (*linear)(const LinearArgs&, Stream&);
  void (*layernorm_gelu)(const LayerNormGeluArgs&, Stream&);
  void (*patch_embed_pos)(const PatchEmbedPosArgs&, Stream&);
  // Null where pictures are cut by the host (image/), on its own threads.
  void (*cut_picture)(const CutPictureArgs&, Stream&) = nullptr;
  // Null where the host draws.
  void (*sample)(const SampleArgs&, Stream&) = nullptr;
  // Reads back one token's keys and values of a layer as float32, [num_kv_heads, head_dim] each. For tests.
  void (*kv_read)(const KvCache&, int32_t layer, int32_t slot, float* k, float* v, Stream&);

  size_t (*qkv_rope_kv_workspace)(const QkvRopeKvArgs&);
  size_t (*attention_paged_workspace)(const AttentionPagedArgs&);
  size_t (*attention_varlen_workspace)(const AttentionVarlenArgs&);
  size_t (*gate_up_silu_workspace)(const GateUpSiluArgs&);
  size_t (*linear_workspace)(const LinearArgs&);
  size_t (*patch_embed_pos_workspace)(const PatchEmbedPosArgs&);
  size_t (*cut_picture_workspace)(const CutPictureArgs&) = nullptr;
  size_t (*sample_workspace)(const SampleArgs&) = nullptr;
};

// The checked entries: shapes are CHECKed, then the stream's back end runs the op.
void embed(const EmbedArgs& args, Stream& stream);
void add_norm(const AddNormArgs& args, Stream& stream);
void rope_table(const RopeTableArgs& args, Stream& stream);
void qkv_rope_kv(const QkvRopeKvArgs& args, Stream& stream);
void attention_paged(const AttentionPagedArgs& args, Stream& stream);
void attention_varlen(const AttentionVarlenArgs& args, Stream& stream);
void gate_up_silu(const GateUpSiluArgs& args, Stream& stream);
void linear(const LinearArgs& args, Stream& stream);
void layernorm_gelu(const LayerNormGeluArgs& args, Stream& stream);
void patch_embed_pos(const PatchEmbedPosArgs& args, Stream& stream);
void cut_picture(const CutPictureArgs& args, Stream& stream);
void sample(const SampleArgs& args, Stream& stream);

// Costs at `rows` actual rows (and, for attention, the visible context).
Cost linear_cost(const PackedLinear& weight, int64_t rows);
Cost attention_cost(int64_t queries, int64_t context, int32_t num_heads, int32_t num_kv_heads, int32_t head_dim,
                    DType kv_dtype);

}  // namespace glimpse
