// Text for the files that hold one instruction set each, after they have defined Simd (see isa_avx512.h): the tiles and
// what finishes their sums.
//
// A tile sums rows of x against 64 weight rows. One step of any format is 256 bytes of the panel: for each of the 64
// rows the 32-bit word of the next 1 (f32), 2 (bf16) or 4 (int8) columns, multiplied by the same word of a row of x in
// all lanes; int4 has 8 columns a word, the low nibbles being the first four. Each element of y is summed in the order
// of the columns whatever the tile's shape is, so that a row's result does not depend on the rows beside it.

#ifdef __clang__
#define GLIMPSE_UNROLL _Pragma("unroll")
#else
#define GLIMPSE_UNROLL _Pragma("GCC unroll 16")
#endif

using F = Simd::F;
using I = Simd::I;

constexpr int kVecs = kPanelRows / Simd::kLanes;  // vectors that one step of a panel fills
constexpr int kVecBytes = 4 * Simd::kLanes;
constexpr int64_t kStepBytes = 4 * kPanelRows;

// How many vectors of the panel a tile of `rows` takes at a time: all four with AVX-512. With 16 registers of 8 lanes
// the panel is passed several times.
constexpr int tile_vecs(int rows) {
  return Simd::kLanes == 16 ? kVecs : rows == 1 ? 8 : rows == 2 ? 4 : 2;
}

struct DotF32 {
  static constexpr int kColumns = 1;
  template <int kRows, int kV>
  GLIMPSE_INLINE void step(F (&acc)[kRows][kV], const std::byte* b, const std::byte* a, int64_t stride) {
    I w[kV];
    GLIMPSE_UNROLL
    for (int v = 0; v < kV; ++v) w[v] = Simd::load_int(b + v * kVecBytes);
    GLIMPSE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const I x = Simd::broadcast(a + r * stride);
      GLIMPSE_UNROLL
      for (int v = 0; v < kV; ++v) acc[r][v] = Simd::fma(Simd::as_float(w[v]), Simd::as_float(x), acc[r][v]);
    }
  }
};
struct DotBf16 {
  static constexpr int kColumns = 2;
  template <int kRows, int kV>
  GLIMPSE_INLINE void step(F (&acc)[kRows][kV], const std::byte* b, const std::byte* a, int64_t stride) {
    if constexpr (Simd::kLanes == 16 || kRows == 1) {
      I w[kV];
      GLIMPSE_UNROLL
      for (int v = 0; v < kV; ++v) w[v] = Simd::load_int(b + v * kVecBytes);
      GLIMPSE_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const I x = Simd::broadcast(a + r * stride);
        GLIMPSE_UNROLL
        for (int v = 0; v < kV; ++v) acc[r][v] = Simd::dot_bf16(acc[r][v], w[v], x);
      }
    } else {
      // Even columns of all rows, then odd ones: with both at once a tile has no registers left and spills.
      half_step<Simd, kRows, kV, false>(acc, b, a, stride);
      half_step<Simd, kRows, kV, true>(acc, b, a, stride);
    }
  }

 private:
  template <class S, int kRows, int kV, bool kOdd>  // S: only Simd of 8 lanes has what this needs
  GLIMPSE_INLINE void half_step(F (&acc)[kRows][kV], const std::byte* b, const std::byte* a, int64_t stride) {
    F w[kV];
    GLIMPSE_UNROLL
    for (int v = 0; v < kV; ++v) w[v] = S::template load_half<kOdd>(b + v * kVecBytes);
    GLIMPSE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const F x = S::template broadcast_half<kOdd>(a + r * stride);
      GLIMPSE_UNROLL
      for (int v = 0; v < kV; ++v) acc[r][v] = S::add_product(acc[r][v], w[v], x);
    }
  }
};

template <class Dot, int kRows>
void float_tile(const TileArgs& args) {
  constexpr int kV = tile_vecs(kRows);
  const int64_t steps = args.cols / Dot::kColumns;
  for (int first = 0; first < kVecs; first += kV) {
    const std::byte* b = args.b + first * kVecBytes;
    const std::byte* a = args.a;
    const int64_t stride = args.a_stride;
    F acc[kRows][kV];
    GLIMPSE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      GLIMPSE_UNROLL
      for (int v = 0; v < kV; ++v) acc[r][v] = Simd::zero();
    }
    for (int64_t s = 0; s < steps; ++s, b += kStepBytes, a += 4) {
      Dot::template step<kRows, kV>(acc, b, a, stride);
    }
    GLIMPSE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      GLIMPSE_UNROLL
      for (int v = 0; v < kV; ++v) {
        float* c = args.c + r * kPanelRows + (first + v) * Simd::kLanes;
        Simd::store(c, args.accumulate ? Simd::add(Simd::load(c), acc[r][v]) : acc[r][v]);
      }
    }
  }
}

// Int8 sums are exact within a group of columns; then c += sum * scale of x (* scale of the weights). kKind says what a
// panel holds.
enum class IntKind { kI8, kI4 };

template <IntKind kKind, int kRows>
void int_tile(const TileArgs& args) {
  constexpr int kV = tile_vecs(kRows);
  constexpr int kColumns = kKind == IntKind::kI4 ? 8 : 4;
  if (!args.accumulate) {
    for (int i = 0; i < kRows * kVecs; ++i) Simd::store(args.c + i * Simd::kLanes, Simd::zero());
  }
  for (int first = 0; first < kVecs; first += kV) {
    const std::byte* b = args.b;
    const std::byte* a = args.a;
    const int64_t stride = args.a_stride;
    int64_t left = args.cols;
    for (int64_t g = 0; left > 0; ++g, left -= args.group) {
      const f16* half_scales = reinterpret_cast<const f16*>(b) + first * Simd::kLanes;
      if constexpr (kKind == IntKind::kI4) b += kPanelRows * sizeof(f16);
      const int64_t steps = (left < args.group ? left : args.group) / kColumns;
      I acc[kRows][kV];
      GLIMPSE_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int32_t sum = args.a_sums[r * args.a_groups + g];
        const I start = kKind == IntKind::kI8 ? Simd::start_i8(sum) : Simd::set1_int(-8 * sum);
        GLIMPSE_UNROLL
        for (int v = 0; v < kV; ++v) acc[r][v] = start;
      }
      const std::byte* words = b + first * kVecBytes;
      for (int64_t s = 0; s < steps; ++s, words += kStepBytes, a += kColumns) {
        if constexpr (kKind == IntKind::kI4) {
          GLIMPSE_UNROLL
          for (int v = 0; v < kV; ++v) {
            const I w = Simd::load_int(words + v * kVecBytes);
            const I low = Simd::low_nibbles(w);
            const I high = Simd::high_nibbles(w);
            GLIMPSE_UNROLL
            for (int r = 0; r < kRows; ++r) {
              acc[r][v] = Simd::dot_u4_at(acc[r][v], low, a + r * stride);
              acc[r][v] = Simd::dot_u4_at(acc[r][v], high, a + r * stride + 4);
            }
          }
        } else {
          I w[kV];
          GLIMPSE_UNROLL
          for (int v = 0; v < kV; ++v) w[v] = Simd::load_int(words + v * kVecBytes);
          GLIMPSE_UNROLL
          for (int r = 0; r < kRows; ++r) {
            const I x = Simd::broadcast(a + r * stride);
            GLIMPSE_UNROLL
            for (int v = 0; v < kV; ++v) acc[r][v] = Simd::dot_i8(acc[r][v], w[v], x);
          }
        }
      }
      b += steps * kStepBytes;
      GLIMPSE_UNROLL
      for (int v = 0; v < kV; ++v) {
        F scale = Simd::zero();
        if constexpr (kKind == IntKind::kI4) scale = Simd::load_f16(half_scales + v * Simd::kLanes);
        GLIMPSE_UNROLL
        for (int r = 0; r < kRows; ++r) {
          float* c = args.c + r * kPanelRows + (first + v) * Simd::kLanes;
          F sum = Simd::to_float(acc[r][v]);
          if constexpr (kKind != IntKind::kI8) sum = Simd::mul(sum, scale);
          Simd::store(c, Simd::fma(sum, Simd::set1(args.a_scales[r * args.a_groups + g]), Simd::load(c)));
        }
      }
    }
  }
}
