// Every op that is neither a product (matmul_test) nor attention (attention_test), on every back end, against the
// reference.
//
// Limits, besides one step of the output's dtype: a row of n terms summed in float32 is off by about sqrt(n) ulp when
// errors are random, so norms may differ from float64 by 2 (sqrt(n) + 4) 2^-24 of the element's size. Sines and cosines
// are compared with float64 at the float32 angle: 2^-22. Copies are exact.

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tests/kernels/rig.h"

namespace glimpse::testing {
namespace {

constexpr double kUlp = 0x1p-24;

struct Output {
  std::vector<float> values, steps;
};

// Runs `run(rig, dtype of the output)` on the reference in float32 and on all targets in `out`; `limit(i, expected)` is
// what an element may be off beside a step.
template <typename Run, typename Limit>
void check(const std::string& what, uint32_t seed, DType out, const Run& run, const Limit& limit) {
  Rig reference;
  const Output expected = run(reference, DType::kF32);
  double worst = 0;
  for (const Target& target : targets()) {
    if (target.cuda && out == DType::kI8) continue;  // activations are not quantised between ops there
    Rig rig(target);
    const Output actual = run(rig, out);
    std::vector<float> limits(expected.values.size());
    for (size_t i = 0; i < limits.size(); ++i) {
      limits[i] = static_cast<float>(limit(i, expected.values[i])) + (actual.steps.empty() ? 0 : actual.steps[i]);
    }
    worst = std::max(worst, expect_close(target.name + " " + what, seed, actual.values, expected.values, limits));
  }
  std::printf("%s: at most %.3f of the limit\n", what.c_str(), worst);
}

// The one place that says why CUDA was not tested here.
TEST(Cuda, HasADevice) {
  if (const std::string why = why_no_cuda(); !why.empty()) GTEST_SKIP() << why;
}

TEST(Embed, TakesTokensSampledIdsAndImageRows) {
  const int64_t vocab = 11, hidden = 37;
  const auto table = normal_values(vocab * hidden, 1, 1, true);
  const auto images = normal_values(3 * hidden, 2);
  for (const DType table_dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const DType image_dtype : {DType::kF32, DType::kBF16}) {
      check(
          "embed " + std::string(dtype_name(table_dtype)), 1, DType::kF32,
          [&](Rig& rig, DType) {
            const int32_t capacity = 8;
            EmbedArgs args{.tokens = rig.rows(6, capacity),
                           .token_ids = rig.upload(std::vector<int32_t>{0, 10, -1, -3, 5, 4, 0x7f7f7f7f, 0x7f7f7f7f}),
                           .last_ids = rig.upload(std::vector<int32_t>{7, 0x7f7f7f7f, 3}),
                           .image_rows = rig.upload(std::vector<int32_t>{-1, -1, -1, -1, 2, 0, 0x7f7f7f7f, 0x7f7f7f7f}),
                           .table = rig.matrix(table_dtype, vocab, hidden, table),
                           .images = rig.matrix(image_dtype, 3, hidden, images)};
            const Activation x = rig.activation(DType::kF32, capacity, hidden);
            args.x = x.values;
            embed(args, rig.stream());
            return Output{.values = rig.read(x, 6), .steps = {}};
          },
          [](size_t, float) { return 0; });
    }
  }
}

struct NormCase {
  int32_t rows, capacity;
  int64_t hidden;
  DType branch = DType::kF32;
  bool has_branch = true, branch_norm = true, indexed = false;
  DType out = DType::kF32;
  int32_t group = 32;
};

TEST(AddNorm, MatchesTheReference) {
  uint32_t seed = 10;
  for (const NormCase& c :
       {NormCase{.rows = 1, .capacity = 1, .hidden = 1}, NormCase{.rows = 3, .capacity = 5, .hidden = 15},
        NormCase{.rows = 3, .capacity = 3, .hidden = 64, .branch_norm = false},
        NormCase{.rows = 2, .capacity = 4, .hidden = 129, .has_branch = false},
        NormCase{.rows = 0, .capacity = 4, .hidden = 16},
        NormCase{.rows = 40, .capacity = 41, .hidden = 1536, .out = DType::kBF16},
        NormCase{.rows = 2, .capacity = 3, .hidden = 4096, .branch = DType::kBF16, .out = DType::kI8, .group = 128},
        NormCase{.rows = 2, .capacity = 3, .hidden = 1100, .out = DType::kI8, .group = 32},
        NormCase{.rows = 3, .capacity = 6, .hidden = 384, .indexed = true}}) {
    ++seed;
    const auto count = static_cast<size_t>(c.capacity * c.hidden);
    const auto x0 = normal_values(count, seed, 1, true);
    const auto branch = normal_values(count, seed + 100, 3, true);
    const auto weight = normal_values(static_cast<size_t>(c.hidden), seed + 200);
    const auto branch_weight = normal_values(static_cast<size_t>(c.hidden), seed + 300);
    const std::vector<int32_t> index = {4, 0, 2};
    for (const bool read_x : {false, true}) {
      check(
          "add_norm " + std::to_string(c.rows) + " x " + std::to_string(c.hidden) + (read_x ? " residual" : " norm"),
          seed, c.out,
          [&](Rig& rig, DType dtype) {
            AddNormArgs args{.rows = rig.rows(c.rows, c.capacity)};
            const Activation x{.values = rig.matrix(DType::kF32, c.capacity, c.hidden, x0)};
            args.x = x.values;
            if (c.indexed) args.row_idx = rig.upload(index);
            if (c.has_branch) args.branch = rig.matrix(c.branch, c.capacity, c.hidden, branch);
            if (c.branch_norm) args.branch_weight = rig.upload(branch_weight);
            args.weight = rig.upload(weight);
            args.y = rig.activation(dtype, c.capacity, c.hidden, c.group);
            add_norm(args, rig.stream());
            // All rows of x: those beyond the count, or not in row_idx, keep their values.
            if (read_x) return Output{.values = rig.read(x.values, c.capacity), .steps = {}};
            Output y{.values = rig.read(args.y, c.rows), .steps = {}};
            y.steps = rig.steps(args.y, c.rows, y.values);
            return y;
          },
          [&](size_t i, float expected) {
            const double sum_error = 2 * (std::sqrt(static_cast<double>(c.hidden)) + 4) * kUlp;
            // The residual is a sum whose terms may cancel; the norm's error is relative to what is normed.
            const size_t column = i % static_cast<size_t>(c.hidden);
            const double size = read_x ? 100 + 300 * std::fabs(branch_weight[column]) : 10 * std::fabs(weight[column]);
            return sum_error * (std::fabs(expected) + 0.2 * size);
          });
    }
  }
}

TEST(RopeTable, FollowsTheFloat32Angle) {
  for (const int32_t pairs : {3, 16, 64}) {
    std::vector<float> inv_freq;
    std::vector<uint8_t> axis;
    for (int32_t i = 0; i < pairs; ++i) {
      inv_freq.push_back(std::pow(10000.0f, -static_cast<float>(i) / static_cast<float>(pairs)));
      axis.push_back(static_cast<uint8_t>(i % 3));
    }
    const int32_t capacity = 9, count = 7;
    std::vector<int32_t> positions;
    for (int32_t a = 0; a < 3; ++a) {
      for (const int32_t p : {0, 1, 2, 1000, 131071, 700000, 5000000, 0x7f7f7f7f, 0x7f7f7f7f})
        positions.push_back(p + (p < 6000000 ? a : 0));
    }
    check(
        "rope_table " + std::to_string(pairs), 0, DType::kF32,
        [&](Rig& rig, DType) {
          RopeTableArgs args{.tokens = rig.rows(count, capacity),
                             .positions = rig.upload(positions),
                             .inv_freq = rig.upload(inv_freq),
                             .axis = rig.upload(axis),
                             .num_pairs = pairs,
                             .cos = static_cast<float*>(rig.allocate(sizeof(float) * capacity * pairs)),
                             .sin = static_cast<float*>(rig.allocate(sizeof(float) * capacity * pairs))};
          rope_table(args, rig.stream());
          Output out{.values = rig.download(args.cos, count * pairs), .steps = {}};
          const auto sin = rig.download(args.sin, count * pairs);
          out.values.insert(out.values.end(), sin.begin(), sin.end());
          return out;
        },
        [](size_t, float) { return 0x1p-22; });
  }
}

struct QkvCase {
  int32_t tokens, capacity, heads, kv_heads, head_dim, pairs;
  RopeLayout layout = RopeLayout::kInterleaved;
  WeightFormat format = WeightFormat::kF32;
  bool vision = false;
  DType out = DType::kF32;
};

// Projections have matmul_test; here the weight is small, and the limit is that of its float32 sums.
TEST(QkvRopeKv, RotatesAndWritesTheCache) {
  uint32_t seed = 40;
  for (const QkvCase& c :
       {QkvCase{1, 1, 4, 2, 32, 8}, QkvCase{5, 9, 3, 3, 24, 12, RopeLayout::kHalfSplit},
        QkvCase{70, 75, 16, 1, 64, 16, RopeLayout::kInterleaved, WeightFormat::kBF16, false, DType::kBF16},
        QkvCase{530, 540, 2, 2, 40, 20, RopeLayout::kHalfSplit, WeightFormat::kBF16, true, DType::kBF16},
        QkvCase{33, 40, 2, 2, 128, 64, RopeLayout::kHalfSplit, WeightFormat::kF32, true}}) {
    ++seed;
    const int64_t hidden = 48;
    const int64_t cols = int64_t{c.heads + 2 * c.kv_heads} * c.head_dim;
    const int64_t kv_cols = int64_t{c.kv_heads} * c.head_dim;
    const DType in = c.format == WeightFormat::kBF16 ? DType::kBF16 : DType::kF32;
    auto x = rounded_to(in, normal_values(static_cast<size_t>(c.tokens * hidden), seed));
    x.resize(static_cast<size_t>(c.capacity * hidden), std::nanf(""));
    const auto weight = rounded_to(in, normal_values(static_cast<size_t>(cols * hidden), seed + 1));
    const auto bias = normal_values(static_cast<size_t>(cols), seed + 2);
    std::vector<float> cos, sin;
    for (int32_t i = 0; i < c.capacity * c.pairs; ++i) {
      cos.push_back(std::cos(static_cast<float>(i)));
      sin.push_back(std::sin(static_cast<float>(i)));
    }
    const DType kv_dtype = c.out == DType::kBF16 ? DType::kBF16 : DType::kF32;
    const int32_t num_blocks = 60;  // slots in any block size of at most 32 that 70 tokens, every third of them, need
    std::vector<int32_t> slots;
    for (int32_t t = 0; t < c.capacity; ++t) slots.push_back(t < c.tokens && t % 5 != 3 ? (t * 7) % 900 : -1);
    check(
        "qkv_rope_kv " + std::to_string(c.tokens) + " x " + std::to_string(c.head_dim), seed, c.out,
        [&](Rig& rig, DType dtype) {
          const auto packed = rig.pack({.name = "qkv",
                                        .rows = cols,
                                        .cols = hidden,
                                        .consumer = LinearConsumer::kQkv,
                                        .format = c.format,
                                        .bias = bias},
                                       weight);
          auto kv = *rig.backend().make_kv({.num_layers = 2,
                                            .num_kv_heads = c.kv_heads,
                                            .head_dim = c.head_dim,
                                            .num_blocks = num_blocks,
                                            .dtype = kv_dtype});
          QkvRopeKvArgs args{.tokens = rig.rows(c.tokens, c.capacity),
                             .x = rig.input(in, c.capacity, hidden, 0, x),
                             .weight = packed.get(),
                             .num_heads = c.heads,
                             .num_kv_heads = c.kv_heads,
                             .head_dim = c.head_dim,
                             .cos = rig.upload(cos),
                             .sin = rig.upload(sin),
                             .num_pairs = c.pairs,
                             .layout = c.layout};
          const Activation out = rig.activation(dtype, c.capacity, c.vision ? cols : int64_t{c.heads} * c.head_dim);
          if (c.vision) {
            args.qkv = out.values;
          } else {
            args.q = out.values;
            args.kv = kv.get();
            args.layer = 1;
            args.slot_mapping = rig.upload(slots);
          }
          EXPECT_TRUE(rig.stream().reserve_workspace(rig.ops().qkv_rope_kv_workspace(args)));
          qkv_rope_kv(args, rig.stream());
          Output y{.values = rig.read(out, c.tokens), .steps = {}};
          y.steps = rig.steps(out, c.tokens, y.values);
          std::vector<float> k(kv_cols), v(kv_cols);
          for (int32_t t = 0; !c.vision && t < c.tokens; ++t) {
            if (slots[t] < 0) continue;
            // Later tokens of the same slot win in no defined order: only unique ones are read.
            rig.ops().kv_read(*kv, 1, slots[t], k.data(), v.data(), rig.stream());
            rig.stream().synchronize();
            y.values.insert(y.values.end(), k.begin(), k.end());
            y.values.insert(y.values.end(), v.begin(), v.end());
            for (const auto& values : {k, v}) {
              for (const float value : values)
                y.steps.push_back(kv_dtype == DType::kBF16 ? std::fabs(value) * 0x1p-6f : 1e-6f);
            }
          }
          // CUDA keeps many rows' sums, mostly below 20, in bfloat16 before the rotation.
          const bool rounded =
              c.format == WeightFormat::kBF16 && c.capacity > 64 && !rig.backend().shares_host_memory();
          if (rounded) {
            for (float& step : y.steps) step += 20 * 0x1p-8f;
          }
          return y;
        },
        // Sums of 48 products of unit normals and a rotation: magnitudes up to 60.
        [&](size_t, float) { return 2 * (hidden + 4) * kUlp * 60; });
  }
}

TEST(LayerNormGelu, MatchesTheReference) {
  uint32_t seed = 60;
  for (const int64_t cols : {1, 15, 16, 384, 1100, 4096}) {
    for (const DType out : {DType::kF32, DType::kBF16, DType::kI8}) {
      const int32_t rows = 5, capacity = 7;
      const DType in = cols == 384 ? DType::kBF16 : DType::kF32;
      const auto x = rounded_to(in, normal_values(static_cast<size_t>(capacity * cols), ++seed, 2, true));
      const auto weight = normal_values(static_cast<size_t>(cols), seed + 100);
      const auto bias = normal_values(static_cast<size_t>(cols), seed + 200, 3);
      check(
          "layernorm_gelu " + std::to_string(cols) + " " + std::string(dtype_name(out)), seed, out,
          [&](Rig& rig, DType dtype) {
            LayerNormGeluArgs args{.rows = rig.rows(rows, capacity),
                                   .x = rig.matrix(in, capacity, cols, x),
                                   .weight = rig.upload(weight),
                                   .bias = rig.upload(bias),
                                   .y = rig.activation(dtype, capacity, cols, 32)};
            layernorm_gelu(args, rig.stream());
            Output y{.values = rig.read(args.y, rows), .steps = {}};
            y.steps = rig.steps(args.y, rows, y.values);
            return y;
          },
          // erfc is good to 1.5e-7, half of |x| <= 10 of it; the norm as above with |w| <= 4 and |normal| <=
          // sqrt(cols).
          [&](size_t, float expected) {
            const double n = static_cast<double>(cols);
            const double size = 4 * std::min(std::sqrt(n), 12.0) + 10;
            return 1.5e-7 * 10 + 2 * (std::sqrt(n) + 4) * kUlp * (size + std::fabs(expected));
          });
    }
  }
}

TEST(PatchEmbedPos, NormsAndSamplesThePositionTable) {
  uint32_t seed = 90;
  struct Grid {
    int32_t h, w, side;
  };
  for (const Grid grid : {Grid{24, 24, 24}, {2, 2, 24}, {46, 12, 24}, {4, 36, 24}, {6, 2, 3}, {2, 4, 1}}) {
    for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBF16}) {
      ++seed;
      const int64_t hidden = 72, cols = 24;
      const int32_t patches = std::min(grid.h * grid.w, 130), capacity = patches + 2;
      const DType in = format == WeightFormat::kBF16 ? DType::kBF16 : DType::kF32;
      auto pixels = rounded_to(in, normal_values(static_cast<size_t>(patches * cols), seed));
      pixels.resize(static_cast<size_t>(capacity * cols), std::nanf(""));
      const auto weight = rounded_to(in, normal_values(static_cast<size_t>(hidden * cols), seed + 1));
      const auto bias = normal_values(static_cast<size_t>(hidden), seed + 2);
      const auto norm = normal_values(static_cast<size_t>(hidden), seed + 3);
      const auto table = normal_values(static_cast<size_t>(grid.side * grid.side * hidden), seed + 4, 1, true);
      std::vector<int32_t> row, col;
      for (int32_t p = 0; p < capacity; ++p) {
        const int32_t at = p * 7 % (grid.h * grid.w);
        row.push_back(at / grid.w);
        col.push_back(at % grid.w);
      }
      check(
          "patch_embed_pos " + std::to_string(grid.h) + " x " + std::to_string(grid.w), seed, DType::kF32,
          [&](Rig& rig, DType) {
            const auto packed =
                rig.pack({.name = "patch", .rows = hidden, .cols = cols, .format = format, .bias = bias}, weight);
            PatchEmbedPosArgs args{.patches = rig.rows(patches, capacity),
                                   .pixels = rig.matrix(in, capacity, cols, pixels),
                                   .weight = packed.get(),
                                   .norm_weight = rig.upload(norm),
                                   .table = rig.upload(table),
                                   .table_side = grid.side,
                                   .row = rig.upload(row),
                                   .col = rig.upload(col),
                                   .grid_h = rig.upload(std::vector<int32_t>(capacity, grid.h)),
                                   .grid_w = rig.upload(std::vector<int32_t>(capacity, grid.w))};
            const Activation x = rig.activation(DType::kF32, capacity, hidden);
            args.x = x.values;
            EXPECT_TRUE(rig.stream().reserve_workspace(rig.ops().patch_embed_pos_workspace(args)));
            patch_embed_pos(args, rig.stream());
            return Output{.values = rig.read(x, patches), .steps = {}};
          },
          // 16 taps of up to 300 with weights whose magnitudes add up to at most 1.6 squared.
          [](size_t, float) { return 2 * 20 * kUlp * 300 * 2.6; });
    }
  }
}

}  // namespace
}  // namespace glimpse::testing
