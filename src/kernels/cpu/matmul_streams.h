// Text for the files that hold an instruction set with 32 registers, behind matmul_tiles.h: a few rows of x against
// several panels at once (stream_panels). A step takes 256 bytes of each panel, so memory sees several streams instead
// of one, and is asked for more of each in time. Every sum is made of the same products in the same order as in a tile.

// How far ahead memory is asked for: the processors' own prefetchers begin anew in every page of 4 KiB.
constexpr int64_t kPrefetchBytes = 2048;

GLIMPSE_INLINE void prefetch_step(const std::byte* words) {
  GLIMPSE_UNROLL
  for (int64_t line = 0; line < kStepBytes; line += 64) __builtin_prefetch(words + line + kPrefetchBytes);
}

template <class Dot, int kRows>
void float_streams(const TileArgs& args) {
  constexpr int kPanels = stream_panels(kRows);
  const int64_t steps = args.cols / Dot::kColumns;
  const std::byte* b = args.b;
  const std::byte* a = args.a;
  const int64_t stride = args.a_stride;
  F acc[kPanels][kRows][kVecs];
  GLIMPSE_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    GLIMPSE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      GLIMPSE_UNROLL
      for (int v = 0; v < kVecs; ++v) acc[p][r][v] = Simd::zero();
    }
  }
  for (int64_t s = 0; s < steps; ++s, b += kStepBytes, a += 4) {
    GLIMPSE_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      prefetch_step(b + p * args.b_stride);
      Dot::template step<kRows, kVecs>(acc[p], b + p * args.b_stride, a, stride);
    }
  }
  GLIMPSE_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    GLIMPSE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      GLIMPSE_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        float* c = args.c + (p * kRows + r) * kPanelRows + v * Simd::kLanes;
        Simd::store(c, args.accumulate ? Simd::add(Simd::load(c), acc[p][r][v]) : acc[p][r][v]);
      }
    }
  }
}

template <IntKind kKind, int kRows>
void int_streams(const TileArgs& args) {
  constexpr bool kI4 = kKind == IntKind::kI4;
  constexpr int kColumns = kI4 ? 8 : 4;
  constexpr int kPanels = stream_panels(kRows);
  if (!args.accumulate) {
    for (int i = 0; i < kPanels * kRows * kVecs; ++i) Simd::store(args.c + i * Simd::kLanes, Simd::zero());
  }
  const std::byte* b = args.b;
  const std::byte* a = args.a;
  const int64_t stride = args.a_stride;
  int64_t left = args.cols;
  for (int64_t g = 0; left > 0; ++g, left -= args.group) {
    const std::byte* half_scales = b;
    if constexpr (kI4) b += kPanelRows * sizeof(f16);
    const int64_t steps = (left < args.group ? left : args.group) / kColumns;
    I acc[kPanels][kRows][kVecs];
    GLIMPSE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const int32_t sum = args.a_sums[r * args.a_groups + g];
      const I start = kI4 ? Simd::set1_int(-8 * sum) : Simd::start_i8(sum);
      GLIMPSE_UNROLL
      for (int p = 0; p < kPanels; ++p) {
        GLIMPSE_UNROLL
        for (int v = 0; v < kVecs; ++v) acc[p][r][v] = start;
      }
    }
    for (int64_t s = 0; s < steps; ++s, b += kStepBytes, a += kColumns) {
      GLIMPSE_UNROLL
      for (int p = 0; p < kPanels; ++p) {
        const std::byte* words = b + p * args.b_stride;
        prefetch_step(words);
        GLIMPSE_UNROLL
        for (int v = 0; v < kVecs; ++v) {
          const I w = Simd::load_int(words + v * kVecBytes);
          GLIMPSE_UNROLL
          for (int r = 0; r < kRows; ++r) {
            if constexpr (kI4) {
              acc[p][r][v] = Simd::dot_u4_at(acc[p][r][v], Simd::low_nibbles(w), a + r * stride);
              acc[p][r][v] = Simd::dot_u4_at(acc[p][r][v], Simd::high_nibbles(w), a + r * stride + 4);
            } else {
              acc[p][r][v] = Simd::dot_i8(acc[p][r][v], w, Simd::broadcast(a + r * stride));
            }
          }
        }
      }
    }
    GLIMPSE_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      const auto* scales = reinterpret_cast<const f16*>(half_scales + p * args.b_stride);
      GLIMPSE_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const F x_scale = Simd::set1(args.a_scales[r * args.a_groups + g]);
        GLIMPSE_UNROLL
        for (int v = 0; v < kVecs; ++v) {
          float* c = args.c + (p * kRows + r) * kPanelRows + v * Simd::kLanes;
          F part = Simd::to_float(acc[p][r][v]);
          if constexpr (kI4) part = Simd::mul(part, Simd::load_f16(scales + v * Simd::kLanes));
          Simd::store(c, Simd::fma(part, x_scale, Simd::load(c)));
        }
      }
    }
  }
}
