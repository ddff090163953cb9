#include <immintrin.h>

#include "kernels/cpu/matmul_blocks.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,f16c")
#endif

namespace glimpse::cpu {

namespace {

#include "kernels/cpu/isa_amx.h"

constexpr int64_t kRowBytes = 64 * sizeof(float);  // of c, and of 16 words of a panel
constexpr int64_t kTileColumns = 64;               // bytes of a row of c, or of a panel's word, in a tile

// tmm0 to tmm3 are sums, tmm4 and tmm5 rows of x, tmm6 and tmm7 weights.
void begin(int64_t rows) {
  TileConfig config;
  for (int t = 0; t < 8; ++t) {
    config.row_bytes[t] = kStepRowBytes;
    config.rows[t] = static_cast<uint8_t>(t < 6 ? rows : kBlockTileRows);
  }
  configure_tiles(config);
}

void end() {
  release_tiles();
}

// Asks for the lines from `next` on, `lines` at a time; kLocality as __builtin_prefetch has it.
template <int kLocality>
GLIMPSE_INLINE const std::byte* prefetch(const std::byte* next, int64_t lines) {
  for (int64_t i = 0; i < lines; ++i, next += 64) __builtin_prefetch(next, 0, kLocality);
  return next;
}

// 32 rows by 32 columns. Each operand is loaded just before its first product: all four at once made the products of
// two threads of one core wait for them.
GLIMPSE_INLINE void multiply_pair(const BlockArgs& args, const std::byte* a, const std::byte* b, float* c,
                                  const std::byte*& next, int64_t lines) {
  auto* c_bytes = reinterpret_cast<std::byte*>(c);
  std::byte* c_low = c_bytes + kBlockTileRows * kRowBytes;
  if (args.accumulate) {
    load_tile<0>(c_bytes, kRowBytes);
    load_tile<1>(c_bytes + kTileColumns, kRowBytes);
    load_tile<2>(c_low, kRowBytes);
    load_tile<3>(c_low + kTileColumns, kRowBytes);
  } else {
    zero_tile<0>();
    zero_tile<1>();
    zero_tile<2>();
    zero_tile<3>();
  }
  for (int64_t s = 0; s < args.steps; ++s, a += args.a_step, b += kStepPanelBytes) {
    load_tile<6>(b, kRowBytes);
    load_tile<4>(a, args.a_row);
    dot_bf16_tiles<0, 4, 6>();
    load_tile<5>(a + args.a_tile, args.a_row);
    dot_bf16_tiles<2, 5, 6>();
    load_tile<7>(b + kTileColumns, kRowBytes);
    dot_bf16_tiles<1, 4, 7>();
    dot_bf16_tiles<3, 5, 7>();
    next = prefetch<2>(next, lines);
  }
  store_tile<0>(c_bytes, kRowBytes);
  store_tile<1>(c_bytes + kTileColumns, kRowBytes);
  store_tile<2>(c_low, kRowBytes);
  store_tile<3>(c_low + kTileColumns, kRowBytes);
}

// Up to 16 rows by the panel's 64 columns.
GLIMPSE_INLINE void multiply_single(const BlockArgs& args, const std::byte* a, float* c, const std::byte*& next,
                                    int64_t lines) {
  auto* c_bytes = reinterpret_cast<std::byte*>(c);
  if (args.accumulate) {
    load_tile<0>(c_bytes, kRowBytes);
    load_tile<1>(c_bytes + kTileColumns, kRowBytes);
    load_tile<2>(c_bytes + 2 * kTileColumns, kRowBytes);
    load_tile<3>(c_bytes + 3 * kTileColumns, kRowBytes);
  } else {
    zero_tile<0>();
    zero_tile<1>();
    zero_tile<2>();
    zero_tile<3>();
  }
  const std::byte* b = args.b;
  for (int64_t s = 0; s < args.steps; ++s, a += args.a_step, b += kStepPanelBytes) {
    next = prefetch<3>(next, lines);
    load_tile<4>(a, args.a_row);
    load_tile<6>(b, kRowBytes);
    dot_bf16_tiles<0, 4, 6>();
    load_tile<7>(b + kTileColumns, kRowBytes);
    dot_bf16_tiles<1, 4, 7>();
    load_tile<6>(b + 2 * kTileColumns, kRowBytes);
    dot_bf16_tiles<2, 4, 6>();
    load_tile<7>(b + 3 * kTileColumns, kRowBytes);
    dot_bf16_tiles<3, 4, 7>();
  }
  store_tile<0>(c_bytes, kRowBytes);
  store_tile<1>(c_bytes + kTileColumns, kRowBytes);
  store_tile<2>(c_bytes + 2 * kTileColumns, kRowBytes);
  store_tile<3>(c_bytes + 3 * kTileColumns, kRowBytes);
}

void multiply_bf16(const BlockArgs& args) {
  const std::byte* next = args.next;
  const int64_t pairs = args.tiles / 2;
  constexpr int64_t kLines = kStepPanelBytes / 64;
  const int64_t turns = 2 * pairs + args.tiles % 2;  // each passes all steps
  const int64_t lines = next == nullptr ? 0 : (kLines + turns - 1) / turns;
  const std::byte* a = args.a;
  float* c = args.c;
  for (int64_t pair = 0; pair < pairs; ++pair, a += 2 * args.a_tile, c += 2 * kBlockTileRows * kTileColumns) {
    multiply_pair(args, a, args.b, c, next, lines);
    multiply_pair(args, a, args.b + 2 * kTileColumns, c + 32, next, lines);
  }
  if (args.tiles % 2 != 0) multiply_single(args, a, c, next, lines);
}

// 16 or 32 rows by 32 columns of a panel. While a group's products are made, the vector units scale the sums of the
// group before: some rows after each product.
template <bool kScaled, int kTiles>
GLIMPSE_INLINE void multiply_int_half(const IntBlockArgs& args, const std::byte* a, const std::byte* b,
                                      const float* a_scales, const float* b_scales, float* c, const std::byte*& next,
                                      int64_t lines) {
  alignas(64) int32_t sums[2][2 * kBlockTileRows][32];
  constexpr int64_t kSumsBytes = sizeof(sums[0][0]);
  const auto scale_rows = [&](int64_t g, int64_t first) __attribute__((always_inline)) {
    const int32_t(*from)[32] = sums[g % 2];
    __m512 factor[2];
    if constexpr (kScaled) {
      factor[0] = _mm512_loadu_ps(b_scales + g * kTileColumns);
      factor[1] = _mm512_loadu_ps(b_scales + g * kTileColumns + 16);
    }
    for (int64_t r = first; r < first + 4; ++r) {
      const __m512 row_scale = _mm512_set1_ps(a_scales[g * kRowBlock + r]);
      for (int v = 0; v < 2; ++v) {
        float* to = c + r * kTileColumns + 16 * v;
        __m512 sum = _mm512_cvtepi32_ps(_mm512_load_si512(from[r] + 16 * v));
        if constexpr (kScaled) sum = _mm512_mul_ps(sum, factor[v]);
        _mm512_storeu_ps(to, _mm512_fmadd_ps(sum, row_scale, _mm512_loadu_ps(to)));
      }
    }
  };
  for (int64_t g = 0; g < args.groups; ++g) {
    zero_tile<0>();
    zero_tile<1>();
    if constexpr (kTiles == 2) {
      zero_tile<2>();
      zero_tile<3>();
    }
    int64_t row = 0;
    const auto scale_some = [&]() __attribute__((always_inline)) {
      if (g > 0) scale_rows(g - 1, row);
      row += 4;
    };
    for (int step = 0; step < 2; ++step, a += kTileBytes, b += kStepPanelBytes) {
      load_tile<6>(b, kRowBytes);
      load_tile<4>(a, kStepRowBytes);
      dot_i8_tiles<0, 4, 6>();
      scale_some();
      if constexpr (kTiles == 2) {
        load_tile<5>(a + args.a_tile, kStepRowBytes);
        dot_i8_tiles<2, 5, 6>();
        scale_some();
      }
      load_tile<7>(b + kTileColumns, kRowBytes);
      dot_i8_tiles<1, 4, 7>();
      scale_some();
      if constexpr (kTiles == 2) {
        dot_i8_tiles<3, 5, 7>();
        scale_some();
      }
    }
    auto& to = sums[g % 2];
    store_tile<0>(to[0], kSumsBytes);
    store_tile<1>(to[0] + 16, kSumsBytes);
    if constexpr (kTiles == 2) {
      store_tile<2>(to[kBlockTileRows], kSumsBytes);
      store_tile<3>(to[kBlockTileRows] + 16, kSumsBytes);
    }
    next = prefetch<2>(next, lines);
  }
  for (int64_t row = 0; row < kTiles * kBlockTileRows; row += 4) scale_rows(args.groups - 1, row);
}

template <bool kScaled>
void multiply_int_panel(const IntBlockArgs& args) {
  const std::byte* next = args.next;
  const int64_t turns = (args.tiles + 1) / 2 * 2 * args.groups;
  const int64_t lines = (args.next_lines + turns - 1) / turns;
  const std::byte* a = args.a;
  float* c = args.c;
  const float* a_scales = args.a_scales;
  for (int64_t t = 0; t < args.tiles; t += 2) {
    for (int64_t half = 0; half < 2; ++half) {
      const std::byte* b = args.b + half * 2 * kTileColumns;
      const float* b_scales = kScaled ? args.b_scales + half * 32 : nullptr;
      if (t + 1 < args.tiles) {
        multiply_int_half<kScaled, 2>(args, a, b, a_scales, b_scales, c + half * 32, next, lines);
      } else {
        multiply_int_half<kScaled, 1>(args, a, b, a_scales, b_scales, c + half * 32, next, lines);
      }
    }
    a += 2 * args.a_tile;
    c += 2 * kBlockTileRows * kTileColumns;
    a_scales += 2 * kBlockTileRows;
  }
}

void multiply_int(const IntBlockArgs& args) {
  args.b_scales == nullptr ? multiply_int_panel<false>(args) : multiply_int_panel<true>(args);
}

// Words of 64 weight rows.
constexpr int64_t kWordRow = 4 * kTileColumns;

void zero_rest(std::byte* dst, int64_t filled) {
  const int64_t whole = (filled + kGroupPanelBytes - 1) / kGroupPanelBytes * kGroupPanelBytes;
  for (int64_t i = filled; i < whole; i += 64) _mm512_storeu_si512(dst + i, _mm512_setzero_si512());
}

void unpack_i8(const std::byte* panel, int64_t cols, std::byte* dst) {
  const int64_t bytes = (cols + 3) / 4 * kWordRow;
  const __m512i sign = _mm512_set1_epi8(-128);
  for (int64_t i = 0; i < bytes; i += 64) {
    _mm512_storeu_si512(dst + i, _mm512_xor_si512(_mm512_loadu_si512(panel + i), sign));
  }
  zero_rest(dst, bytes);
}

void unpack_i4(const std::byte* panel, int64_t cols, std::byte* dst, float* scales) {
  const __m512i mask = _mm512_set1_epi8(15);
  const __m512i eight = _mm512_set1_epi8(8);
  for (int64_t first = 0; first < cols; first += kGroupColumns, dst += kGroupPanelBytes, scales += kTileColumns) {
    for (int64_t i = 0; i < kTileColumns; i += 16, panel += 32) {
      _mm512_storeu_ps(scales + i, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(panel))));
    }
    const int64_t left = cols - first < kGroupColumns ? cols - first : kGroupColumns;
    const int64_t words = (left + 7) / 8;
    std::byte* to = dst;
    for (int64_t w = 0; w < words; ++w, panel += kWordRow, to += 2 * kWordRow) {
      for (int64_t i = 0; i < kWordRow; i += 64) {
        const __m512i both = _mm512_loadu_si512(panel + i);
        const __m512i low = _mm512_and_si512(both, mask);
        const __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), mask);
        _mm512_storeu_si512(to + i, _mm512_sub_epi8(low, eight));
        _mm512_storeu_si512(to + kWordRow + i, _mm512_sub_epi8(high, eight));
      }
    }
    zero_rest(dst, to - dst);
  }
}

void pack_rows(const std::byte* rows, int64_t stride, int64_t count, int64_t bytes, int64_t steps, std::byte* dst) {
  for (int64_t r = 0; r < kBlockTileRows; ++r, dst += kStepRowBytes) {
    const std::byte* row = rows + r * stride;
    const int64_t filled = r < count ? bytes : 0;
    std::byte* to = dst;
    for (int64_t s = 0; s < steps; ++s, row += kStepRowBytes, to += kTileBytes) {
      const int64_t left = filled - s * kStepRowBytes;
      if (left >= kStepRowBytes) {
        _mm512_storeu_si512(to, _mm512_loadu_si512(row));
      } else {
        const auto mask = static_cast<__mmask64>(left > 0 ? (uint64_t{1} << left) - 1 : 0);
        _mm512_storeu_si512(to, _mm512_maskz_loadu_epi8(mask, row));
      }
    }
  }
}

}  // namespace

const BlockKernels& block_kernels_amx() {
  static constexpr BlockKernels kKernels = {.begin = begin,
                                            .end = end,
                                            .multiply_bf16 = multiply_bf16,
                                            .multiply_int = multiply_int,
                                            .pack_rows = pack_rows,
                                            .unpack_i8 = unpack_i8,
                                            .unpack_i4 = unpack_i4};
  return kKernels;
}

}  // namespace glimpse::cpu

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
