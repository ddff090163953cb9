#include <immintrin.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/cpu/attention_kernels.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512bf16"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512bf16")
#endif

namespace glimpse::cpu {

namespace {

#include "kernels/cpu/isa_amx.h"
#include "kernels/cpu/isa_avx512_bf16.h"

#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/attention_softmax.h"

// Rows and columns of a tile of sums; words of a row of an operand.
constexpr int kTile = 16;
constexpr int64_t kQueryWords = kMaxHeadDim / 2;
constexpr int64_t kWeightWords = kTileTokens / 2;
constexpr int64_t kWordBytes = sizeof(uint32_t);
static_assert(kQueryWords * kMaxQueryRows <= kMaxHeadDim * kQueryRows);

void begin() {
  TileConfig config;
  for (int t = 0; t < 8; ++t) {
    config.row_bytes[t] = kTile * kWordBytes;
    config.rows[t] = kTile;
  }
  configure_tiles(config);
}

void end() {
  release_tiles();
}

// tmm0 and tmm1, below them (kTiles 2) tmm2 and tmm3: += 16 or 32 rows of words at x times 16 words of 32 columns at w.
template <int kTiles>
GLIMPSE_INLINE void multiply(const uint32_t* x, int64_t x_stride, const uint32_t* w, int64_t w_stride) {
  load_tile<6>(w, w_stride * kWordBytes);
  load_tile<4>(x, x_stride * kWordBytes);
  dot_bf16_tiles<0, 4, 6>();
  if constexpr (kTiles == 2) {
    load_tile<5>(x + kTile * x_stride, x_stride * kWordBytes);
    dot_bf16_tiles<2, 5, 6>();
  }
  load_tile<7>(w + kTile, w_stride * kWordBytes);
  dot_bf16_tiles<1, 4, 7>();
  if constexpr (kTiles == 2) dot_bf16_tiles<3, 5, 7>();
}

template <int kTiles>
GLIMPSE_INLINE void store_sums(float* to, int64_t stride) {
  const int64_t bytes = stride * int64_t{sizeof(float)};
  store_tile<0>(to, bytes);
  store_tile<1>(to + kTile, bytes);
  if constexpr (kTiles == 2) {
    store_tile<2>(to + kTile * stride, bytes);
    store_tile<3>(to + kTile * stride + kTile, bytes);
  }
}

// Meanwhile the next tile is fetched: its blocks' keys and values, as many lines a step as products take the time for.
template <int kTiles>
void compute_scores(AttentionState& state, const AttentionTile& tile) {
  const int64_t steps = state.layout.steps / kTile;
  constexpr int64_t kLineWords = 16;
  for (int64_t block = 0; block * kKvBlock < tile.tokens; ++block) {
    zero_tile<0>();
    zero_tile<1>();
    if constexpr (kTiles == 2) {
      zero_tile<2>();
      zero_tile<3>();
    }
    const uint32_t* next = tile.next[block];
    const int64_t lines = next == nullptr ? 0 : state.layout.words() / kLineWords / steps;
    const uint32_t* keys = tile.keys[block];
    for (int64_t s = 0; s < steps; ++s, keys += kTile * kKvBlock) {
      multiply<kTiles>(state.q + s * kTile, kQueryWords, keys, kKvBlock);
      for (int64_t i = 0; i < lines; ++i, next += kLineWords) __builtin_prefetch(next, 0, 2);
    }
    store_sums<kTiles>(state.scores + block * kKvBlock, kTileTokens);
  }
}

template <int kTiles>
void add_values(AttentionState& state, const AttentionTile& tile) {
  const int64_t padded = state.layout.padded;
  constexpr int64_t kPairs = kKvBlock / 2;
  const int64_t blocks = (tile.tokens + kKvBlock - 1) / kKvBlock;
  const uint32_t* values[kTileBlocks];
  for (int64_t b = 0; b < blocks; ++b) values[b] = tile.values[b];
  if (const int64_t rest = tile.tokens % kKvBlock; rest != 0) {  // what lies behind may be NaN, and 0 x NaN is NaN
    uint32_t* to = state.last_values;
    const uint32_t* from = values[blocks - 1];
    std::memcpy(to, from, static_cast<size_t>(rest / 2 * padded) * sizeof(*to));
    to += rest / 2 * padded;
    if (rest % 2 != 0) {
      for (int64_t d = 0; d < padded; ++d) *to++ = from[rest / 2 * padded + d] & 0xffffu;
    }
    std::memset(to, 0, static_cast<size_t>(state.last_values + kPairs * padded - to) * sizeof(*to));
    values[blocks - 1] = state.last_values;
  }
  for (int r = 0; r < state.rows; ++r) {
    if (state.shrink[r] == 1) continue;
    const F shrink = Simd::set1(state.shrink[r]);
    float* sums = state.sums + r * padded;
    for (int64_t d = 0; d < padded; d += kLanes) Simd::store(sums + d, Simd::mul(Simd::load(sums + d), shrink));
  }
  const int64_t row_bytes = padded * int64_t{sizeof(float)};
  for (int64_t column = 0; column < padded; column += 2 * kTile) {
    float* sums = state.sums + column;
    load_tile<0>(sums, row_bytes);
    load_tile<1>(sums + kTile, row_bytes);
    if constexpr (kTiles == 2) {
      load_tile<2>(sums + kTile * padded, row_bytes);
      load_tile<3>(sums + kTile * padded + kTile, row_bytes);
    }
    for (int64_t b = 0; b < blocks; ++b) {
      multiply<kTiles>(state.weights + b * kTile, kWeightWords, values[b] + column, padded);
    }
    store_sums<kTiles>(sums, padded);
  }
}

void add_tile(AttentionState& state, const AttentionTile& tile) {
  const bool one = state.rows <= kTile;
  one ? compute_scores<1>(state, tile) : compute_scores<2>(state, tile);
  compute_weights<DotBf16, kKvBlock>(state, tile);
  one ? add_values<1>(state, tile) : add_values<2>(state, tile);
}

void load_query(const void* src, DType dtype, int32_t head_dim, uint32_t* dst) {
  if (dtype == DType::kBF16) {
    std::memcpy(dst, src, static_cast<size_t>(head_dim) * sizeof(bf16));
    return;
  }
  const auto* x = static_cast<const float*>(src);
  auto* to = reinterpret_cast<bf16*>(dst);
  for (int32_t d = 0; d < head_dim; ++d) to[d] = to_bf16(x[d]);
}

constexpr AttentionKernels kKernels = {.query_rows = kMaxQueryRows,
                                       .query_stride = kQueryWords,
                                       .begin = begin,
                                       .end = end,
                                       .load_query = load_query,
                                       .add_tile = add_tile,
                                       .pack_block = pack_block_bf16};

}  // namespace

const AttentionKernels& attention_kernels_amx(DType dtype, int32_t head_dim) {
  const bool whole = dtype == DType::kBF16 && head_dim % (2 * kTile) == 0;
  return whole ? kKernels : attention_kernels_avx512_bf16(dtype);
}

}  // namespace glimpse::cpu

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
