// Attention of every back end against the reference.
//
// Limit of one output element, with A = sum_j p_j |v_j| (the size of what is summed) and S = max_j sum_d |q_d k_jd|:
//   2 * (w + 2 * scale * S * (head_dim + 2) * 2^-24 + (n + 16) * 2^-24) * A + one step of the output's dtype
// which is twice the error bound of the plain loop in the same dtype: w = 2^-8 is the rounding of the weights to
// bfloat16 (bfloat16 caches only), the second term what rounding the scores does to the weights, the third the sums.

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "kernels/elements.h"
#include "tests/kernels/rig.h"

namespace glimpse::testing {
namespace {

constexpr double kUlp = 0x1p-24;

// Adds to `limits`, given the plain definition's magnitudes; see the top of the file.
double limit_of(double a, double s, double scale, int64_t head_dim, int64_t tokens, DType dtype) {
  const double weights = dtype == DType::kBF16 ? 0x1p-8 : 0;
  const double scores = 2 * scale * s * static_cast<double>(head_dim + 2) * kUlp;
  return 2 * (weights + scores + static_cast<double>(tokens + 16) * kUlp) * a;
}

struct PagedCase {
  std::vector<int32_t> queries;   // per sequence
  std::vector<int32_t> contexts;  // tokens visible to its last query
  int32_t num_heads = 4;
  int32_t num_kv_heads = 2;
  int32_t head_dim = 64;
  DType kv = DType::kBF16;
  DType q = DType::kBF16;
  DType out = DType::kF32;
  int32_t group = 32;
  float size = 1;     // of queries and keys; above 1 also with outliers
  bool ties = false;  // all keys of a sequence equal
};

std::string describe(const PagedCase& c) {
  std::string text = "heads " + std::to_string(c.num_heads) + "/" + std::to_string(c.num_kv_heads) + " x " +
                     std::to_string(c.head_dim) + " kv " + std::string(dtype_name(c.kv)) + " q " +
                     std::string(dtype_name(c.q)) + " out " + std::string(dtype_name(c.out)) + " size " +
                     std::to_string(c.size) + " queries/contexts";
  for (size_t s = 0; s < c.queries.size(); ++s) {
    text += " " + std::to_string(c.queries[s]) + "/" + std::to_string(c.contexts[s]);
  }
  return text;
}

// The KV content is written by the op itself: qkv_rope_kv with the identity as weight and no rotation, one token per
// slot, so that the layout stays the back end's secret. Slots in between are written with huge values or NaN.
struct PagedInputs {
  std::vector<float> q;
  std::vector<std::vector<float>> k, v;  // per sequence [context, kv_heads * head_dim]
};

PagedInputs make_inputs(const PagedCase& c, uint32_t seed) {
  PagedInputs in;
  const int64_t kv_cols = int64_t{c.num_kv_heads} * c.head_dim;
  const int64_t tokens = std::accumulate(c.queries.begin(), c.queries.end(), int64_t{0});
  // bfloat16 beside a bfloat16 cache: the reference rounds neither.
  in.q =
      rounded_to(c.kv, normal_values(static_cast<size_t>(tokens * c.num_heads * c.head_dim), seed, c.size, c.size > 1));
  for (size_t s = 0; s < c.contexts.size(); ++s) {
    const auto count = static_cast<size_t>(c.contexts[s] * kv_cols);
    in.k.push_back(rounded_to(c.kv, normal_values(count, seed + 10 + static_cast<uint32_t>(s), c.size, c.size > 1)));
    in.v.push_back(rounded_to(c.kv, normal_values(count, seed + 1000 + static_cast<uint32_t>(s), 1, true)));
    if (c.ties) {
      for (size_t i = static_cast<size_t>(kv_cols); i < count; ++i) in.k.back()[i] = in.k.back()[i - kv_cols];
    }
  }
  return in;
}

// What each row's limit needs, from the inputs in float64.
std::vector<float> paged_limits(const PagedCase& c, const PagedInputs& in, float scale) {
  std::vector<float> limits;
  const int64_t kv_cols = int64_t{c.num_kv_heads} * c.head_dim;
  int64_t token = 0;
  for (size_t s = 0; s < c.queries.size(); ++s) {
    for (int32_t i = 0; i < c.queries[s]; ++i, ++token) {
      const int64_t visible = std::max<int64_t>(0, c.contexts[s] - (c.queries[s] - 1 - i));
      for (int32_t h = 0; h < c.num_heads; ++h) {
        const float* q = &in.q[(token * c.num_heads + h) * c.head_dim];
        const int64_t column = int64_t{h / (c.num_heads / c.num_kv_heads)} * c.head_dim;
        std::vector<double> p(visible);
        double max = -INFINITY, size = 0, sum = 0;
        for (int64_t j = 0; j < visible; ++j) {
          double magnitude = 0;
          for (int32_t d = 0; d < c.head_dim; ++d) {
            const double term = double{q[d]} * in.k[s][j * kv_cols + column + d];
            p[j] += term * scale;
            magnitude += std::fabs(term);
          }
          max = std::max(max, p[j]);
          size = std::max(size, magnitude);
        }
        for (double& x : p) sum += x = std::exp(x - max);
        for (int32_t d = 0; d < c.head_dim; ++d) {
          double a = 0;
          for (int64_t j = 0; j < visible; ++j) a += p[j] / sum * std::fabs(in.v[s][j * kv_cols + column + d]);
          limits.push_back(static_cast<float>(limit_of(a, size, scale, c.head_dim, visible, c.kv)));
        }
      }
    }
  }
  return limits;
}

// Runs the case on a rig; `garbage` fills every slot that no sequence owns. Returns the output and its steps.
struct Output {
  std::vector<float> values, steps;
};

Output run_paged(Rig& rig, const PagedCase& c, const PagedInputs& in, DType out_dtype, float garbage, uint32_t seed) {
  const int32_t layers = 2, layer = 1;
  const int64_t kv_cols = int64_t{c.num_kv_heads} * c.head_dim;
  auto probe = rig.backend().make_kv({.num_layers = 1, .num_kv_heads = 1, .head_dim = 2, .num_blocks = 1});
  const int32_t block_size = (*probe)->block_size;
  int32_t max_blocks = 2, blocks = 1;
  for (const int32_t context : c.contexts) {
    const int32_t need = (context + block_size - 1) / block_size;
    max_blocks = std::max(max_blocks, need + 1);
    blocks += need + 1;
  }
  auto kv = *rig.backend().make_kv({.num_layers = layers,
                                    .num_kv_heads = c.num_kv_heads,
                                    .head_dim = c.head_dim,
                                    .num_blocks = blocks,
                                    .dtype = c.kv});
  std::vector<int32_t> order(blocks);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(seed));
  // Rows of the table behind a sequence's blocks are out of range: nobody may follow them.
  std::vector<int32_t> table(c.contexts.size() * max_blocks, 0x7f7f7f7f);
  std::vector<int32_t> owner(int64_t{blocks} * block_size, -1);  // global token, or -1
  std::vector<float> rows;                                       // [tokens, q | k | v] as one head of q
  size_t next = 0;
  for (size_t s = 0; s < c.contexts.size(); ++s) {
    for (int32_t b = 0; b * block_size < c.contexts[s]; ++b) table[s * max_blocks + b] = order[next++];
  }
  std::vector<int32_t> slots;
  const auto add_row = [&](int32_t slot, const float* k, const float* v) {
    slots.push_back(slot);
    for (int64_t i = 0; i < kv_cols; ++i) rows.push_back(k == nullptr ? garbage : k[i]);
    for (int64_t i = 0; i < kv_cols; ++i) rows.push_back(v == nullptr ? garbage : v[i]);
  };
  for (size_t s = 0; s < c.contexts.size(); ++s) {
    for (int32_t j = 0; j < c.contexts[s]; ++j) {
      const int32_t slot = table[s * max_blocks + j / block_size] * block_size + j % block_size;
      owner[slot] = 1;
      add_row(slot, &in.k[s][j * kv_cols], &in.v[s][j * kv_cols]);
    }
  }
  for (int32_t slot = 0; slot < static_cast<int32_t>(owner.size()); ++slot) {
    if (owner[slot] < 0) add_row(slot, nullptr, nullptr);
  }
  const auto count = static_cast<int32_t>(slots.size());
  // W = [0 (q) ; I]: rows of x are [k | v].
  const int64_t q_cols = kv_cols;
  std::vector<float> weight((q_cols + 2 * kv_cols) * 2 * kv_cols);
  for (int64_t i = 0; i < 2 * kv_cols; ++i) weight[(q_cols + i) * 2 * kv_cols + i] = 1;
  const auto packed = rig.pack({.name = "identity",
                                .rows = q_cols + 2 * kv_cols,
                                .cols = 2 * kv_cols,
                                .consumer = LinearConsumer::kQkv,
                                .format = c.kv == DType::kBF16 ? WeightFormat::kBF16 : WeightFormat::kF32},
                               weight);
  QkvRopeKvArgs write{.tokens = rig.rows(count, count),
                      .x = rig.input(packed->input_dtype(), count, 2 * kv_cols, 0, rows),
                      .weight = packed.get(),
                      .num_heads = c.num_kv_heads,
                      .num_kv_heads = c.num_kv_heads,
                      .head_dim = c.head_dim,
                      .kv = kv.get(),
                      .layer = layer,
                      .slot_mapping = rig.upload(slots)};
  write.q = rig.matrix(DType::kF32, count, q_cols);
  EXPECT_TRUE(rig.stream().reserve_workspace(rig.ops().qkv_rope_kv_workspace(write)));
  qkv_rope_kv(write, rig.stream());

  const auto seqs = static_cast<int32_t>(c.contexts.size());
  std::vector<int32_t> cu = {0};
  for (const int32_t n : c.queries) cu.push_back(cu.back() + n);
  const int32_t tokens = cu.back();
  const int32_t capacity = tokens + 3;
  std::vector<int32_t> contexts = c.contexts;
  contexts.resize(contexts.size() + 2, 0x7f7f7f7f);
  cu.resize(contexts.size() + 1, 0x7f7f7f7f);
  std::vector<float> q = in.q;
  q.resize(static_cast<size_t>(capacity) * c.num_heads * c.head_dim, std::nanf(""));
  AttentionPagedArgs args{.tokens = rig.rows(tokens, capacity),
                          .seqs = rig.rows(seqs, seqs + 2),
                          .cu_seqlens = rig.upload(cu),
                          .context_lens = rig.upload(contexts),
                          .block_table = rig.upload(table),
                          .max_blocks = max_blocks,
                          .kv = kv.get(),
                          .layer = layer,
                          .num_heads = c.num_heads,
                          .scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim)),
                          .q = rig.matrix(c.q, capacity, int64_t{c.num_heads} * c.head_dim, q),
                          .out = rig.activation(out_dtype, capacity, int64_t{c.num_heads} * c.head_dim, c.group)};
  EXPECT_TRUE(rig.stream().reserve_workspace(rig.ops().attention_paged_workspace(args)));
  attention_paged(args, rig.stream());
  Output output{.values = rig.read(args.out, tokens), .steps = {}};
  output.steps = rig.steps(args.out, tokens, output.values);
  rig.stream().synchronize();
  return output;
}

void check_paged(const PagedCase& c, uint32_t seed) {
  const PagedInputs in = make_inputs(c, seed);
  Rig reference;
  const Output expected = run_paged(reference, c, in, DType::kF32, 0, seed);
  const std::vector<float> limits = paged_limits(c, in, 1.0f / std::sqrt(static_cast<float>(c.head_dim)));
  double worst = 0;
  for (const Target& target : targets()) {
    if (target.cuda && c.out == DType::kI8) continue;  // activations are not quantised between ops there
    for (const float garbage : {3e38f, std::nanf("")}) {
      Rig rig(target);
      const Output actual = run_paged(rig, c, in, c.out, garbage, seed);
      std::vector<float> allowed = limits;
      for (size_t i = 0; i < allowed.size(); ++i) allowed[i] += actual.steps[i];
      const std::string what = target.name + " " + describe(c);
      worst = std::max(worst, expect_close(what, seed, actual.values, expected.values, allowed));
    }
  }
  std::printf("%s: at most %.3f of the limit\n", describe(c).c_str(), worst);
}

TEST(AttentionPaged, DecodeAroundBlockEdges) {
  uint32_t seed = 1;
  for (const DType kv : {DType::kBF16, DType::kF32}) {
    check_paged({.queries = {1, 1, 1, 1, 1, 1, 1, 1}, .contexts = {1, 2, 31, 32, 33, 127, 128, 129}, .kv = kv, .q = kv},
                seed++);
  }
}

TEST(AttentionPaged, HeadGroupsAndDims) {
  uint32_t seed = 20;
  struct Heads {
    int32_t q, kv;
  };
  for (const Heads heads : {Heads{2, 2}, {3, 1}, {16, 1}, {32, 2}, {13, 1}, {25, 1}}) {
    for (const int32_t dim : {24, 32, 64, 80, 128}) {
      check_paged({.queries = {1, 3},
                   .contexts = {45, 66},
                   .num_heads = heads.q,
                   .num_kv_heads = heads.kv,
                   .head_dim = dim,
                   .kv = dim == 80 ? DType::kF32 : DType::kBF16,
                   .out = dim == 32 ? DType::kBF16 : DType::kF32},
                  seed++);
    }
  }
  check_paged({.queries = {2}, .contexts = {40}, .num_heads = 2, .num_kv_heads = 1, .head_dim = 256}, seed++);
  check_paged({.queries = {2}, .contexts = {40}, .num_heads = 2, .num_kv_heads = 1, .head_dim = 8}, seed++);
  check_paged({.queries = {9}, .contexts = {40}, .num_heads = 2, .num_kv_heads = 1, .head_dim = 112}, seed++);
}

TEST(AttentionPaged, MixesPrefillDecodeAndEmptySequences) {
  uint32_t seed = 60;
  for (const DType kv : {DType::kBF16, DType::kF32}) {
    check_paged({.queries = {1, 0, 37, 5, 1}, .contexts = {200, 0, 37, 133, 1}, .kv = kv, .q = DType::kF32}, seed++);
    // Context 0 beside a query: sees nothing, yields zeros. The first two queries of the other see nothing either.
    check_paged({.queries = {1, 5}, .contexts = {0, 3}, .kv = kv}, seed++);
  }
}

TEST(AttentionPaged, LongContextIsSplitOverThreads) {
  uint32_t seed = 80;
  for (const DType kv : {DType::kBF16, DType::kF32}) {
    check_paged({.queries = {1}, .contexts = {2500}, .num_heads = 4, .num_kv_heads = 1, .kv = kv}, seed++);
    check_paged({.queries = {4}, .contexts = {1026}, .num_heads = 2, .num_kv_heads = 1, .kv = kv}, seed++);
  }
}

// The published models' heads, with more queries than a decode kernel takes: fresh prompts, a chunk behind a long
// context, and sequences with one query among them.
TEST(AttentionPaged, PrefillOfThePublishedHeads) {
  check_paged({.queries = {65, 1, 40, 33, 3},
               .contexts = {65, 300, 150, 33, 90},
               .num_heads = 32,
               .num_kv_heads = 2,
               .head_dim = 128,
               .out = DType::kBF16},
              85);
  check_paged({.queries = {70, 35}, .contexts = {70, 200}, .num_heads = 4, .num_kv_heads = 4, .head_dim = 128}, 86);
}

TEST(AttentionPaged, LargeScoresAndTies) {
  uint32_t seed = 90;
  for (const DType kv : {DType::kBF16, DType::kF32}) {
    check_paged({.queries = {3}, .contexts = {70}, .kv = kv, .size = 8}, seed++);
    check_paged({.queries = {3}, .contexts = {70}, .kv = kv, .size = 0.01f}, seed++);
    check_paged({.queries = {1, 33}, .contexts = {70, 100}, .kv = kv, .ties = true}, seed++);
  }
}

TEST(AttentionPaged, WritesInt8) {
  check_paged({.queries = {1, 7}, .contexts = {40, 20}, .head_dim = 64, .out = DType::kI8, .group = 32}, 100);
  check_paged({.queries = {1, 7}, .contexts = {40, 20}, .head_dim = 128, .out = DType::kI8, .group = 128}, 101);
  check_paged({.queries = {1, 7}, .contexts = {40, 20}, .head_dim = 80, .out = DType::kI8, .group = 128}, 102);
}

// A query's result has the same bits alone, beside others, and whether its prompt came in one piece or two.
TEST(AttentionPaged, DoesNotDependOnTheBatch) {
  const PagedCase whole{
      .queries = {50, 1}, .contexts = {1100, 2200}, .num_heads = 4, .num_kv_heads = 1, .head_dim = 32};
  const PagedInputs in = make_inputs(whole, 110);
  const int64_t row = int64_t{whole.num_heads} * whole.head_dim;
  for (const Target& target : targets()) {
    Rig rig(target);
    const auto together = run_paged(rig, whole, in, DType::kF32, 1e30f, 110).values;
    PagedCase last = whole;
    last.queries = {3};
    last.contexts = {1100};
    PagedInputs last_in{.q = {in.q.begin() + 47 * row, in.q.begin() + 50 * row}, .k = {in.k[0]}, .v = {in.v[0]}};
    const auto tail = run_paged(rig, last, last_in, DType::kF32, 1e30f, 111).values;
    if (target.cuda) continue;  // how a context is split there depends on the batch: equal within the limits only
    EXPECT_TRUE(std::equal(tail.begin(), tail.end(), together.begin() + 47 * row)) << target.name;
    PagedCase decode = whole;
    decode.queries = {1};
    decode.contexts = {2200};
    PagedInputs decode_in{.q = {in.q.begin() + 50 * row, in.q.end()}, .k = {in.k[1]}, .v = {in.v[1]}};
    const auto alone = run_paged(rig, decode, decode_in, DType::kF32, 1e30f, 112).values;
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + 50 * row)) << target.name;
  }
}

struct VarlenCase {
  std::vector<int32_t> lengths;
  int32_t num_heads = 2;
  int32_t head_dim = 64;
  DType qkv = DType::kBF16;
  DType out = DType::kF32;
  int32_t group = 32;
  float size = 1;
};

Output run_varlen(Rig& rig, const VarlenCase& c, const std::vector<float>& values, DType out_dtype) {
  std::vector<int32_t> cu = {0};
  for (const int32_t n : c.lengths) cu.push_back(cu.back() + n);
  const int32_t tokens = cu.back();
  const int32_t capacity = tokens + 5;
  const int64_t width = int64_t{c.num_heads} * c.head_dim;
  std::vector<float> padded = values;
  padded.resize(static_cast<size_t>(capacity * 3 * width), std::nanf(""));
  const auto segments = static_cast<int32_t>(c.lengths.size());
  AttentionVarlenArgs args{.tokens = rig.rows(tokens, capacity),
                           .segments = rig.rows(segments, segments + 1),
                           .cu_seqlens = rig.upload(cu),
                           .num_heads = c.num_heads,
                           .head_dim = c.head_dim,
                           .scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim)),
                           .qkv = rig.matrix(c.qkv, capacity, 3 * width, padded),
                           .out = rig.activation(out_dtype, capacity, width, c.group)};
  EXPECT_TRUE(rig.stream().reserve_workspace(rig.ops().attention_varlen_workspace(args)));
  attention_varlen(args, rig.stream());
  Output output{.values = rig.read(args.out, tokens), .steps = {}};
  output.steps = rig.steps(args.out, tokens, output.values);
  return output;
}

void check_varlen(const VarlenCase& c, uint32_t seed) {
  const int64_t width = int64_t{c.num_heads} * c.head_dim;
  const int64_t tokens = std::accumulate(c.lengths.begin(), c.lengths.end(), int64_t{0});
  const auto values =
      rounded_to(c.qkv, normal_values(static_cast<size_t>(tokens * 3 * width), seed, c.size, c.size > 1));
  // The limits are those of paged decode with every token as a query of its segment.
  PagedCase as_paged{.num_heads = c.num_heads, .num_kv_heads = c.num_heads, .head_dim = c.head_dim, .kv = c.qkv};
  PagedInputs in;
  int64_t first = 0;
  for (const int32_t length : c.lengths) {
    std::vector<float> k, v;
    for (int64_t t = first; t < first + length; ++t) {
      const auto row = values.begin() + t * 3 * width;
      k.insert(k.end(), row + width, row + 2 * width);
      v.insert(v.end(), row + 2 * width, row + 3 * width);
    }
    for (int64_t t = first; t < first + length; ++t) {
      in.q.insert(in.q.end(), values.begin() + t * 3 * width, values.begin() + t * 3 * width + width);
      in.k.push_back(k);
      in.v.push_back(v);
      as_paged.queries.push_back(1);
      as_paged.contexts.push_back(length);
    }
    first += length;
  }
  Rig reference;
  const Output expected = run_varlen(reference, c, values, DType::kF32);
  const std::vector<float> limits = paged_limits(as_paged, in, 1.0f / std::sqrt(static_cast<float>(c.head_dim)));
  const std::string text = "head_dim " + std::to_string(c.head_dim) + " " + std::string(dtype_name(c.qkv)) + " to " +
                           std::string(dtype_name(c.out)) + " size " + std::to_string(c.size);
  double worst = 0;
  for (const Target& target : targets()) {
    if (target.cuda && c.out == DType::kI8) continue;
    Rig rig(target);
    const Output actual = run_varlen(rig, c, values, c.out);
    std::vector<float> allowed = limits;
    for (size_t i = 0; i < allowed.size(); ++i) allowed[i] += actual.steps[i];
    worst = std::max(worst, expect_close(target.name + " " + text, seed, actual.values, expected.values, allowed));
  }
  std::printf("%s: at most %.3f of the limit\n", text.c_str(), worst);
}

TEST(AttentionVarlen, SegmentsAroundTileEdges) {
  uint32_t seed = 200;
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    check_varlen({.lengths = {1, 23, 24, 25, 31, 32, 33, 0, 127, 128, 129}, .qkv = dtype, .out = dtype}, seed++);
  }
}

TEST(AttentionVarlen, PublishedHeadAroundTileEdges) {
  check_varlen({.lengths = {1, 175, 176, 177, 0, 353}, .head_dim = 128, .out = DType::kBF16}, 210);
}

// The tower reserves for its capacity and then runs smaller pictures in it.
TEST(AttentionVarlen, NeedsNoMoreWorkspaceForLess) {
  const auto backend = make_cpu_backend({.num_threads = 1});
  ASSERT_TRUE(backend);
  size_t most = 0;
  for (int32_t tokens = 64; tokens < 40000; tokens += 64) {
    AttentionVarlenArgs args{.tokens = {nullptr, tokens}, .segments = {nullptr, 1}, .num_heads = 12, .head_dim = 128};
    args.qkv = {nullptr, DType::kBF16, tokens, 3 * 12 * 128, 3 * 12 * 128};
    args.out.values = {nullptr, DType::kBF16, tokens, 12 * 128, 12 * 128};
    const size_t bytes = (*backend)->ops().attention_varlen_workspace(args);
    EXPECT_GE(bytes, most) << tokens;
    most = std::max(most, bytes);
  }
}

TEST(AttentionVarlen, HeadDims) {
  uint32_t seed = 220;
  for (const int32_t dim : {8, 24, 32, 64, 80, 112, 128, 256}) {
    for (const DType dtype : {DType::kBF16, DType::kF32}) {
      check_varlen({.lengths = {50, 7}, .head_dim = dim, .qkv = dtype}, seed++);
    }
  }
}

TEST(AttentionVarlen, LargeScoresAndInt8) {
  check_varlen({.lengths = {70}, .size = 8}, 240);
  check_varlen({.lengths = {70}, .qkv = DType::kF32, .size = 8}, 241);
  check_varlen({.lengths = {70}, .out = DType::kI8, .group = 32}, 242);
  check_varlen({.lengths = {70}, .num_heads = 3, .head_dim = 80, .out = DType::kI8, .group = 128}, 243);
}

}  // namespace
}  // namespace glimpse::testing
