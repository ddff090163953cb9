#include <immintrin.h>

#include "kernels/cpu/matmul_blocks.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
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

void pack_rows(const std::byte* rows, int64_t stride, int64_t count, int64_t bytes, std::byte* dst) {
  for (int64_t r = 0; r < kBlockTileRows; ++r, dst += kStepRowBytes) {
    const std::byte* row = rows + r * stride;
    std::byte* to = dst;
    const int64_t filled = r < count ? bytes : 0;
    int64_t at = 0;
    for (; at + kStepRowBytes <= filled; at += kStepRowBytes, to += kTileBytes) {
      _mm512_storeu_si512(to, _mm512_loadu_si512(row + at));
    }
    if (at < filled) {
      const auto mask = static_cast<__mmask64>((uint64_t{1} << (filled - at)) - 1);
      _mm512_storeu_si512(to, _mm512_maskz_loadu_epi8(mask, row + at));
      at += kStepRowBytes;
      to += kTileBytes;
    }
    for (; at < bytes; at += kStepRowBytes, to += kTileBytes) _mm512_storeu_si512(to, _mm512_setzero_si512());
  }
}

}  // namespace

const BlockKernels& block_kernels_amx() {
  static constexpr BlockKernels kKernels = {
      .begin = begin, .end = end, .multiply_bf16 = multiply_bf16, .pack_rows = pack_rows};
  return kKernels;
}

}  // namespace glimpse::cpu

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
