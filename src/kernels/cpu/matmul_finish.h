// Text for the files that hold one instruction set each, after matmul_tiles.h: what is done to a tile's sums, and
// quantisation.

// e^x, at most 2 ulp off; 0 below -104, infinity above 88.73. Range reduction x = n ln 2 + r with ln 2 in two parts,
// then the Taylor polynomial to r^7 (|r| <= 0.347: its error is 0.06 ulp).
GLIMPSE_INLINE F exp(F x) {
  x = Simd::min(Simd::max(x, Simd::set1(-110.0f)), Simd::set1(90.0f));
  const F n = Simd::round(Simd::mul(x, Simd::set1(1.44269504f)));
  F r = Simd::fnma(n, Simd::set1(0.693145752f), x);
  r = Simd::fnma(n, Simd::set1(1.42860677e-6f), r);
  F p = Simd::set1(1.0f / 5040);
  p = Simd::fma(p, r, Simd::set1(1.0f / 720));
  p = Simd::fma(p, r, Simd::set1(1.0f / 120));
  p = Simd::fma(p, r, Simd::set1(1.0f / 24));
  p = Simd::fma(p, r, Simd::set1(1.0f / 6));
  p = Simd::fma(p, r, Simd::set1(0.5f));
  p = Simd::fma(p, r, Simd::set1(1.0f));
  p = Simd::fma(p, r, Simd::set1(1.0f));
  return Simd::scale_by_power(p, n);
}

GLIMPSE_INLINE F silu(F x) {
  const F minus_x = Simd::sub(Simd::zero(), x);
  return Simd::div(x, Simd::add(Simd::set1(1.0f), exp(minus_x)));
}

// 0.5 x (1 + erf(x / sqrt 2)) with erfc(|z|) after Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7), used on either
// side of zero so that nothing cancels for large |x|.
GLIMPSE_INLINE F gelu(F x) {
  const F z = Simd::mul(Simd::abs(x), Simd::set1(0.707106781f));
  const F t = Simd::div(Simd::set1(1.0f), Simd::fma(z, Simd::set1(0.3275911f), Simd::set1(1.0f)));
  F p = Simd::set1(1.061405429f);
  p = Simd::fma(p, t, Simd::set1(-1.453152027f));
  p = Simd::fma(p, t, Simd::set1(1.421413741f));
  p = Simd::fma(p, t, Simd::set1(-0.284496736f));
  p = Simd::fma(p, t, Simd::set1(0.254829592f));
  const F erfc = Simd::mul(Simd::mul(p, t), exp(Simd::sub(Simd::zero(), Simd::mul(z, z))));
  // x erfc / 2; where erfc is 0 and x infinite the product is NaN, so x is kept finite here.
  const F small = Simd::min(Simd::max(x, Simd::set1(-3e38f)), Simd::set1(3e38f));
  const F part = Simd::mul(Simd::mul(Simd::set1(0.5f), small), erfc);
  return Simd::if_negative(x, part, Simd::sub(x, part));
}

template <Finish kFinish, bool kBf16>
void finish_rows(const FinishArgs& args) {
  constexpr int kOutputs = kFinish == Finish::kSiluMul ? kPanelRows / 2 : kPanelRows;
  constexpr int kOutputVecs = kOutputs / Simd::kLanes;
  const float* sums = args.sums;
  std::byte* dst = args.dst;
  for (int64_t r = 0; r < args.rows; ++r, sums += kPanelRows, dst += args.dst_stride) {
    F y[kVecs];
    GLIMPSE_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      y[v] = Simd::load(sums + v * Simd::kLanes);
      if (args.scale != nullptr) y[v] = Simd::mul(y[v], Simd::load(args.scale + v * Simd::kLanes));
      if (args.bias != nullptr) y[v] = Simd::add(y[v], Simd::load(args.bias + v * Simd::kLanes));
      if constexpr (kFinish == Finish::kGelu) y[v] = gelu(y[v]);
    }
    if constexpr (kFinish == Finish::kSiluMul) {
      GLIMPSE_UNROLL
      for (int v = 0; v < kOutputVecs; ++v) y[v] = Simd::mul(silu(y[v]), y[v + kOutputVecs]);
    }
    const auto store = [&](void* to) __attribute__((always_inline)) {
      GLIMPSE_UNROLL
      for (int v = 0; v < kOutputVecs; ++v) {
        if constexpr (kBf16) {
          Simd::store_bf16(static_cast<bf16*>(to) + v * Simd::kLanes, y[v]);
        } else {
          Simd::store(static_cast<float*>(to) + v * Simd::kLanes, y[v]);
        }
      }
    };
    if (args.count == kOutputs) {
      store(dst);
    } else {
      float whole[kOutputs];
      store(whole);
      __builtin_memcpy(dst, whole, static_cast<size_t>(args.count) * (kBf16 ? sizeof(bf16) : sizeof(float)));
    }
  }
}

void finish(const FinishArgs& args) {
  switch (args.finish) {
    case Finish::kNone:
      return args.bf16 ? finish_rows<Finish::kNone, true>(args) : finish_rows<Finish::kNone, false>(args);
    case Finish::kGelu:
      return args.bf16 ? finish_rows<Finish::kGelu, true>(args) : finish_rows<Finish::kGelu, false>(args);
    case Finish::kSiluMul:
      return args.bf16 ? finish_rows<Finish::kSiluMul, true>(args) : finish_rows<Finish::kSiluMul, false>(args);
  }
}

void store_bf16(const float* x, int64_t count, bf16* dst) {
  int64_t i = 0;
  for (; i + Simd::kLanes <= count; i += Simd::kLanes) Simd::store_bf16(dst + i, Simd::load(x + i));
  for (; i < count; ++i) dst[i] = to_bf16(x[i]);
}

// One group, by the rule of kernels/quantization.h.
GLIMPSE_INLINE void quantize_group(const float* x, int64_t count, int8_t* values, float* scale_out, int32_t* sum_out) {
  F largest = Simd::zero();
  int64_t i = 0;
  for (; i + Simd::kLanes <= count; i += Simd::kLanes) largest = Simd::max(largest, Simd::abs(Simd::load(x + i)));
  float tail[Simd::kLanes] = {};
  const int64_t left = count - i;
  for (int64_t j = 0; j < left; ++j) tail[j] = x[i + j];
  const float max = Simd::reduce_max(Simd::max(largest, Simd::abs(Simd::load(tail))));
  float inverse = max > 0 ? 127.0f / max : 0.0f;
  if (inverse > 3.40282347e38f) inverse = 0;
  *scale_out = inverse > 0 ? max / 127.0f : 0.0f;
  const F factor = Simd::set1(inverse);
  I sum = Simd::zero_int();
  for (i = 0; i + Simd::kLanes <= count; i += Simd::kLanes) {
    const I q = Simd::to_int(Simd::mul(Simd::load(x + i), factor));
    sum = Simd::add_int(sum, q);
    Simd::store_i8(values + i, q);
  }
  if (left > 0) {
    int8_t bytes[Simd::kLanes];
    const I q = Simd::to_int(Simd::mul(Simd::load(tail), factor));
    sum = Simd::add_int(sum, q);
    Simd::store_i8(bytes, q);
    for (int64_t j = 0; j < left; ++j) values[i + j] = bytes[j];
  }
  if (sum_out != nullptr) *sum_out = Simd::reduce_add(sum);
}

void quantize_row(const float* x, int64_t cols, int32_t group, int8_t* values, float* scales, int32_t* sums) {
  for (int64_t first = 0; first < cols; first += group) {
    const int64_t count = cols - first < group ? cols - first : group;
    quantize_group(x + first, count, values + first, scales++, sums);
    if (sums != nullptr) ++sums;
  }
}
