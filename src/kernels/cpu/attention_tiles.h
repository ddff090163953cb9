// Text for the files that hold one instruction set each, after they have defined Simd (see isa_avx512.h): the
// arithmetic of flash attention on one tile (see attention_kernels.h).
//
// Both products are the same micro-kernel: rows of 32-bit words, broadcast, times vectors of words that lie side by
// side in the cache. With AVX-512, 12 rows x 2 vectors (scores) and 6 rows x 4 vectors (values) keep 24 sums in
// registers.

#ifdef __clang__
#define GLIMPSE_UNROLL _Pragma("unroll")
#else
#define GLIMPSE_UNROLL _Pragma("GCC unroll 16")
#endif

#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/attention_softmax.h"

constexpr int kBlockVecs = kKvBlock / kLanes;
constexpr int kMaxSums = kLanes == 16 ? 24 : 12;

GLIMPSE_INLINE const std::byte* bytes_of(const uint32_t* words) {
  return reinterpret_cast<const std::byte*>(words);
}

// Scores of kRows rows with kBlocks blocks of keys. Each step also asks for two lines of the next tile, from `next` on:
// spread out like this they come while the products run; all at once they would stall them.
template <class Dot, int kRows, int kBlocks>
void score_rows(const uint32_t* q, const uint32_t* const* keys, const uint32_t* next, int64_t steps, float* scores) {
  constexpr int kVecs = kBlocks * kBlockVecs;
  F acc[kRows][kVecs];
  GLIMPSE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    GLIMPSE_UNROLL
    for (int v = 0; v < kVecs; ++v) acc[r][v] = Simd::zero();
  }
  for (int64_t s = 0; s < steps; ++s) {
    __builtin_prefetch(next + s * kKvBlock, 0, 2);
    __builtin_prefetch(next + s * kKvBlock + kKvBlock / 2, 0, 2);
    I w[kVecs];
    GLIMPSE_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      w[v] = Simd::load_int(keys[v / kBlockVecs] + s * kKvBlock + v % kBlockVecs * kLanes);
    }
    GLIMPSE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const I x = Simd::broadcast(bytes_of(q + s * kQueryRows + r));
      GLIMPSE_UNROLL
      for (int v = 0; v < kVecs; ++v) acc[r][v] = Dot::dot(acc[r][v], w[v], x);
    }
  }
  GLIMPSE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    GLIMPSE_UNROLL
    for (int v = 0; v < kVecs; ++v) Simd::store(scores + r * kTileTokens + v * kLanes, acc[r][v]);
  }
}

// sums[r, column..] = sums * shrink[r] + weights x values, for kRows rows and kVecs vectors of columns.
template <class Dot, int kRows, int kVecs>
void value_rows(const AttentionState& state, const AttentionTile& tile, int row, int column, float* sums) {
  constexpr int kWeightWords = kTileTokens / Dot::kPerWord;
  constexpr int kBlockSteps = kKvBlock / Dot::kPerWord;
  const int64_t padded = state.layout.padded;
  F acc[kRows][kVecs];
  GLIMPSE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const F shrink = Simd::set1(state.shrink[row + r]);
    GLIMPSE_UNROLL
    for (int v = 0; v < kVecs; ++v) acc[r][v] = Simd::mul(Simd::load(sums + r * padded + v * kLanes), shrink);
  }
  const uint32_t* x = state.weights + row * kWeightWords;
  const auto step = [&](const uint32_t* values) __attribute__((always_inline)) {
    I w[kVecs];
    GLIMPSE_UNROLL
    for (int v = 0; v < kVecs; ++v) w[v] = Simd::load_int(values + v * kLanes);
    GLIMPSE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const I weight = Simd::broadcast(bytes_of(x + r * kWeightWords));
      GLIMPSE_UNROLL
      for (int v = 0; v < kVecs; ++v) acc[r][v] = Dot::dot(acc[r][v], w[v], weight);
    }
    ++x;
  };
  int left = tile.tokens / Dot::kPerWord;
  for (int block = 0; left > 0; ++block, left -= kBlockSteps) {
    const uint32_t* values = tile.values[block] + column;
    const int steps = left < kBlockSteps ? left : kBlockSteps;
    for (int s = 0; s < steps; ++s, values += padded) step(values);
  }
  if (tile.tokens % Dot::kPerWord != 0) step(state.last_values + column);
  GLIMPSE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    GLIMPSE_UNROLL
    for (int v = 0; v < kVecs; ++v) Simd::store(sums + r * padded + v * kLanes, acc[r][v]);
  }
}

using ScoreFunction = void (*)(const uint32_t*, const uint32_t* const*, const uint32_t*, int64_t, float*);
using ValueFunction = void (*)(const AttentionState&, const AttentionTile&, int, int, float*);

constexpr int kScoreRows = kMaxSums / kBlockVecs;  // 12, or 3
constexpr int kValueVecs = kLanes == 16 ? 4 : 2;
constexpr int kValueRows = kMaxSums / kValueVecs;  // 6

// How many blocks of keys a tile of `rows` takes at once.
constexpr int blocks_of(int rows) {
  const int blocks = kMaxSums / (rows * kBlockVecs);
  return blocks >= 4 ? 4 : blocks >= 2 ? 2 : 1;
}

template <class Dot, size_t... kIndex>
constexpr std::array<ScoreFunction, sizeof...(kIndex)> score_table(bool one_block, std::index_sequence<kIndex...>) {
  return {(one_block ? &score_rows<Dot, kIndex + 1, 1> : &score_rows<Dot, kIndex + 1, blocks_of(kIndex + 1)>)...};
}
template <class Dot, int kVecs, size_t... kIndex>
constexpr std::array<ValueFunction, sizeof...(kIndex)> value_table(std::index_sequence<kIndex...>) {
  return {&value_rows<Dot, kIndex + 1, kVecs>...};
}

template <class Dot>
void compute_scores(AttentionState& state, const AttentionTile& tile) {
  static constexpr auto kMany = score_table<Dot>(false, std::make_index_sequence<kScoreRows>());
  static constexpr auto kOne = score_table<Dot>(true, std::make_index_sequence<kScoreRows>());
  const int blocks = (tile.tokens + kKvBlock - 1) / kKvBlock;
  const int groups = (state.rows + kScoreRows - 1) / kScoreRows;
  const int group_rows = (state.rows + groups - 1) / groups;
  const int at_once = blocks_of(group_rows);
  for (int block = 0; block < blocks;) {
    const int count = block + at_once <= blocks ? at_once : 1;
    for (int row = 0; row < state.rows; row += group_rows) {
      const int rows = group_rows < state.rows - row ? group_rows : state.rows - row;
      float* scores = state.scores + row * kTileTokens + block * kKvBlock;
      // The first group of rows fetches keys, the second values: steps * kKvBlock words each.
      const bool has_next = tile.next[block] != nullptr;
      const uint32_t* next = !has_next  ? tile.keys[block]
                             : row == 0 ? tile.next[block]
                                        : tile.next[block] + state.layout.key_words;
      // The last group may have fewer rows and could take more blocks; it takes as many as the others.
      if (count == 1 || rows == group_rows) {
        (count == 1 ? kOne : kMany)[rows - 1](state.q + row, tile.keys + block, next, state.layout.steps, scores);
      } else {
        for (int b = 0; b < count; ++b) {
          kOne[rows - 1](state.q + row, tile.keys + block + b, next, state.layout.steps, scores + b * kKvBlock);
        }
      }
    }
    block += count;
  }
}

template <class Dot, int kVecs>
void add_columns(AttentionState& state, const AttentionTile& tile, int column) {
  static constexpr auto kTable = value_table<Dot, kVecs>(std::make_index_sequence<kValueRows>());
  const int groups = (state.rows + kValueRows - 1) / kValueRows;
  const int group_rows = (state.rows + groups - 1) / groups;
  for (int row = 0; row < state.rows; row += group_rows) {
    const int rows = group_rows < state.rows - row ? group_rows : state.rows - row;
    kTable[rows - 1](state, tile, row, column, state.sums + row * state.layout.padded + column);
  }
}

template <class Dot>
void add_values(AttentionState& state, const AttentionTile& tile) {
  const int padded = state.layout.padded;
  if (tile.tokens % Dot::kPerWord != 0) {  // the last token's partner may hold anything, and 0 x NaN is NaN
    const int word_row = tile.tokens / Dot::kPerWord;
    constexpr int kBlockSteps = kKvBlock / Dot::kPerWord;
    const uint32_t* words = tile.values[word_row / kBlockSteps] + word_row % kBlockSteps * padded;
    for (int d = 0; d < padded; ++d) state.last_values[d] = words[d] & 0xffffu;
  }
  int column = 0;
  for (; column + kValueVecs * kLanes <= padded; column += kValueVecs * kLanes) {
    add_columns<Dot, kValueVecs>(state, tile, column);
  }
  if constexpr (kValueVecs == 4) {
    const int left = (padded - column) / kLanes;
    if (left == 3) add_columns<Dot, 3>(state, tile, column);
    if (left == 2) add_columns<Dot, 2>(state, tile, column);
    if (left == 1) add_columns<Dot, 1>(state, tile, column);
  }
}

template <class Dot>
void add_tile(AttentionState& state, const AttentionTile& tile) {
  compute_scores<Dot>(state, tile);
  compute_weights<Dot>(state, tile);
  add_values<Dot>(state, tile);
}

void load_query_f32(const void* src, DType dtype, int32_t head_dim, uint32_t* dst) {
  for (int32_t d = 0; d < head_dim; ++d) {
    const float x =
        dtype == DType::kF32 ? static_cast<const float*>(src)[d] : to_float(static_cast<const bf16*>(src)[d]);
    dst[d * kQueryRows] = std::bit_cast<uint32_t>(x);
  }
}

void load_query_bf16(const void* src, DType dtype, int32_t head_dim, uint32_t* dst) {
  for (int32_t d = 0; d < head_dim; d += 2, dst += kQueryRows) {
    if (dtype == DType::kBF16) {
      __builtin_memcpy(dst, static_cast<const bf16*>(src) + d, sizeof(*dst));
      continue;
    }
    const auto* x = static_cast<const float*>(src) + d;
    *dst = to_bf16(x[0]).bits | static_cast<uint32_t>(to_bf16(x[1]).bits) << 16;
  }
}

void pack_block_f32(const void* keys, const void* values, int64_t src_stride, int32_t tokens, int32_t head_dim,
                    uint32_t* key_words, uint32_t* value_words) {
  const KvLayout layout = KvLayout::of(DType::kF32, head_dim);
  const auto* k = static_cast<const uint32_t*>(keys);
  const auto* v = static_cast<const uint32_t*>(values);
  for (int32_t t = 0; t < kKvBlock; ++t) {
    for (int32_t d = 0; d < head_dim; ++d) {
      key_words[d * kKvBlock + t] = t < tokens ? k[t * src_stride + d] : 0;
      value_words[int64_t{t} * layout.padded + d] = t < tokens ? v[t * src_stride + d] : 0;
    }
    for (int32_t d = head_dim; d < layout.padded; ++d) value_words[int64_t{t} * layout.padded + d] = 0;
  }
}

template <class Dot>
constexpr AttentionKernels kernels_of(decltype(AttentionKernels::load_query) load,
                                      decltype(AttentionKernels::pack_block) pack) {
  return {.query_rows = kQueryRows,
          .query_stride = 1,
          .begin = nullptr,
          .end = nullptr,
          .load_query = load,
          .add_tile = add_tile<Dot>,
          .pack_block = pack};
}
constexpr AttentionKernels kF32Kernels = kernels_of<DotF32>(load_query_f32, pack_block_f32);
constexpr AttentionKernels kBf16Kernels = kernels_of<DotBf16>(load_query_bf16, pack_block_bf16);
