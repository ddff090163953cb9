// Text for the files that hold one instruction set each, after they have defined Simd (see isa_avx512.h).
//
// Tails shorter than a vector run the same vector code on a padded copy, so that an element's value does not depend on
// where in a row it stands.

using F = Simd::F;
constexpr int64_t kLanes = Simd::kLanes;

// A piece of at most one vector, padded with zeros.
struct Padded {
  alignas(64) float data[Simd::kLanes] = {};
};

GLIMPSE_INLINE F load_part(const float* p, int64_t count) {
  Padded part;
  for (int64_t i = 0; i < count; ++i) part.data[i] = p[i];
  return Simd::load(part.data);
}

GLIMPSE_INLINE void store_part(float* p, F x, int64_t count) {
  Padded part;
  Simd::store(part.data, x);
  for (int64_t i = 0; i < count; ++i) p[i] = part.data[i];
}

GLIMPSE_INLINE float reduce_add(F x) {
  Padded lanes;
  Simd::store(lanes.data, x);
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) lanes.data[i] += lanes.data[i + width];
  }
  return lanes.data[0];
}

void widen(const void* src, DType dtype, int64_t count, float* dst) {
  if (dtype == DType::kF32) {
    __builtin_memcpy(dst, src, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  int64_t c = 0;
  if (dtype == DType::kBF16) {
    const auto* from = static_cast<const bf16*>(src);
    for (; c + kLanes <= count; c += kLanes) Simd::store(dst + c, Simd::load_bf16(from + c));
    for (; c < count; ++c) dst[c] = to_float(from[c]);
  } else {
    const auto* from = static_cast<const f16*>(src);
    for (; c + kLanes <= count; c += kLanes) Simd::store(dst + c, Simd::load_f16(from + c));
    for (; c < count; ++c) dst[c] = to_float(from[c]);
  }
}

void narrow(const float* src, int64_t count, bf16* dst) {
  int64_t c = 0;
  for (; c + kLanes <= count; c += kLanes) Simd::store_bf16(dst + c, Simd::load(src + c));
  for (; c < count; ++c) dst[c] = to_bf16(src[c]);
}

// Four sums, so that four additions are in flight and each adds fewer terms.
template <class Term>
GLIMPSE_INLINE float sum_terms(int64_t count, const Term& term) {
  F sums[4] = {Simd::zero(), Simd::zero(), Simd::zero(), Simd::zero()};
  int64_t c = 0;
  for (; c + 4 * kLanes <= count; c += 4 * kLanes) {
    sums[0] = term.add(c, kLanes, sums[0]);
    sums[1] = term.add(c + kLanes, kLanes, sums[1]);
    sums[2] = term.add(c + 2 * kLanes, kLanes, sums[2]);
    sums[3] = term.add(c + 3 * kLanes, kLanes, sums[3]);
  }
  for (int i = 0; c < count; c += kLanes, ++i) sums[i] = term.add(c, count - c < kLanes ? count - c : kLanes, sums[i]);
  return reduce_add(Simd::add(Simd::add(sums[0], sums[1]), Simd::add(sums[2], sums[3])));
}

struct PlainTerm {
  const float* x;
  [[gnu::always_inline]] inline F add(int64_t c, int64_t lanes, F sum) const {
    return Simd::add(sum, lanes == kLanes ? Simd::load(x + c) : load_part(x + c, lanes));
  }
};
float sum(const float* x, int64_t count) {
  return sum_terms(count, PlainTerm{x});
}

struct SquareTerm {
  const float* x;
  float centre;
  [[gnu::always_inline]] inline F add(int64_t c, int64_t lanes, F sum) const {
    F centred = Simd::zero();
    if (lanes == kLanes) {
      centred = Simd::sub(Simd::load(x + c), Simd::set1(centre));
    } else {
      Padded part;
      for (int64_t i = 0; i < lanes; ++i) part.data[i] = x[c + i] - centre;
      centred = Simd::load(part.data);
    }
    return Simd::fma(centred, centred, sum);
  }
};
float sum_squares(const float* x, int64_t count, float centre) {
  return sum_terms(count, SquareTerm{x, centre});
}

struct AccumulateTerm {
  float* x;
  const float* branch;
  const float* weight;
  F scale;
  [[gnu::always_inline]] inline F add(int64_t c, int64_t lanes, F sum) const {
    const bool whole = lanes == kLanes;
    F b = whole ? Simd::load(branch + c) : load_part(branch + c, lanes);
    if (weight != nullptr) {
      b = Simd::mul(Simd::mul(b, scale), whole ? Simd::load(weight + c) : load_part(weight + c, lanes));
    }
    const F y = Simd::add(whole ? Simd::load(x + c) : load_part(x + c, lanes), b);
    if (whole) {
      Simd::store(x + c, y);
    } else {
      store_part(x + c, y, lanes);
    }
    return Simd::fma(y, y, sum);
  }
};
float accumulate(float* x, const float* branch, float scale, const float* weight, int64_t count) {
  return sum_terms(count, AccumulateTerm{x, branch, weight, Simd::set1(scale)});
}

void scale_row(const float* x, float scale, const float* weight, int64_t count, float* y) {
  const F s = Simd::set1(scale);
  int64_t c = 0;
  for (; c + kLanes <= count; c += kLanes) {
    Simd::store(y + c, Simd::mul(Simd::mul(Simd::load(x + c), s), Simd::load(weight + c)));
  }
  if (c < count) {
    const F part = Simd::mul(Simd::mul(load_part(x + c, count - c), s), load_part(weight + c, count - c));
    store_part(y + c, part, count - c);
  }
}

// e^x for x <= 0, 1 ulp off; 0 below -104. x = n ln 2 + r with ln 2 in two parts, then Taylor to r^7 (|r| <= 0.347).
GLIMPSE_INLINE F exp_negative(F x) {
  x = Simd::max(x, Simd::set1(-110.0f));
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

// 0.5 x (1 + erf(x / sqrt 2)). erfc(z), z = |x| / sqrt 2, after Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7):
// gelu is x erfc(z) / 2 below zero and x minus that above, so nothing cancels for large |x|.
GLIMPSE_INLINE F gelu(F x) {
  const F z = Simd::mul(Simd::abs(x), Simd::set1(0.707106781f));
  const F t = Simd::div(Simd::set1(1.0f), Simd::fma(z, Simd::set1(0.3275911f), Simd::set1(1.0f)));
  F p = Simd::set1(1.061405429f);
  p = Simd::fma(p, t, Simd::set1(-1.453152027f));
  p = Simd::fma(p, t, Simd::set1(1.421413741f));
  p = Simd::fma(p, t, Simd::set1(-0.284496736f));
  p = Simd::fma(p, t, Simd::set1(0.254829592f));
  const F erfc = Simd::mul(Simd::mul(p, t), exp_negative(Simd::sub(Simd::zero(), Simd::mul(z, z))));
  const F part = Simd::mul(Simd::mul(Simd::set1(0.5f), x), erfc);
  return Simd::if_negative(x, part, Simd::sub(x, part));
}

void norm_gelu(const float* x, float mean, float scale, const float* weight, const float* bias, int64_t count,
               float* y) {
  const F m = Simd::set1(mean);
  const F s = Simd::set1(scale);
  for (int64_t c = 0; c < count; c += kLanes) {
    const int64_t lanes = count - c < kLanes ? count - c : kLanes;
    const bool whole = lanes == kLanes;
    const F v = whole ? Simd::load(x + c) : load_part(x + c, lanes);
    const F w = whole ? Simd::load(weight + c) : load_part(weight + c, lanes);
    const F b = whole ? Simd::load(bias + c) : load_part(bias + c, lanes);
    const F g = gelu(Simd::fma(Simd::mul(Simd::sub(v, m), s), w, b));
    if (whole) {
      Simd::store(y + c, g);
    } else {
      store_part(y + c, g, lanes);
    }
  }
}

void rotate_interleaved(float* head, const float* cos, const float* sin, int32_t pairs) {
  int32_t i = 0;
  for (; i + kLanes <= pairs; i += static_cast<int32_t>(kLanes)) {
    const F c = Simd::load(cos + i);
    const F s = Simd::load(sin + i);
    const auto rotate = [](float* at, F cosines, F sines) __attribute__((always_inline)) {
      const F x = Simd::load(at);
      Simd::store(at, Simd::fma_alternating(x, cosines, Simd::mul(Simd::swap_neighbours(x), sines)));
    };
    rotate(head + 2 * i, Simd::twice_low(c), Simd::twice_low(s));
    rotate(head + 2 * i + kLanes, Simd::twice_high(c), Simd::twice_high(s));
  }
  for (; i < pairs; ++i) {
    const float a = head[2 * i];
    const float b = head[2 * i + 1];
    head[2 * i] = a * cos[i] - b * sin[i];
    head[2 * i + 1] = b * cos[i] + a * sin[i];
  }
}

void rotate_half_split(float* head, const float* cos, const float* sin, int32_t pairs) {
  int32_t i = 0;
  for (; i + kLanes <= pairs; i += static_cast<int32_t>(kLanes)) {
    const F a = Simd::load(head + i);
    const F b = Simd::load(head + pairs + i);
    const F c = Simd::load(cos + i);
    const F s = Simd::load(sin + i);
    Simd::store(head + i, Simd::fnma(b, s, Simd::mul(a, c)));
    Simd::store(head + pairs + i, Simd::fma(a, s, Simd::mul(b, c)));
  }
  for (; i < pairs; ++i) {
    const float a = head[i];
    const float b = head[pairs + i];
    head[i] = a * cos[i] - b * sin[i];
    head[pairs + i] = b * cos[i] + a * sin[i];
  }
}

// Quadrant n and remainder r of x = n pi/2 + r, pi/2 in three parts: n has at most 20 bits here, the first two products
// are exact in the fused multiply-add. Then the polynomials of Cephes' sinf and cosf for |r| <= pi/4.
void cos_sin(const float* angles, int64_t count, float* cos, float* sin) {
  for (int64_t c = 0; c < count; c += kLanes) {
    const int64_t lanes = count - c < kLanes ? count - c : kLanes;
    const F x = lanes == kLanes ? Simd::load(angles + c) : load_part(angles + c, lanes);
    const F n = Simd::round(Simd::mul(x, Simd::set1(0.636619772f)));
    F r = Simd::fnma(n, Simd::set1(1.57079637f), x);
    r = Simd::fnma(n, Simd::set1(-4.37113883e-8f), r);
    r = Simd::fnma(n, Simd::set1(-1.71512451e-15f), r);
    const F r2 = Simd::mul(r, r);
    F s = Simd::fma(Simd::set1(-1.9515295891e-4f), r2, Simd::set1(8.3321608736e-3f));
    s = Simd::fma(s, r2, Simd::set1(-1.6666654611e-1f));
    s = Simd::fma(Simd::mul(s, r2), r, r);
    F k = Simd::fma(Simd::set1(2.443315711809948e-5f), r2, Simd::set1(-1.388731625493765e-3f));
    k = Simd::fma(k, r2, Simd::set1(4.166664568298827e-2f));
    k = Simd::fma(k, r2, Simd::set1(-0.5f));
    k = Simd::fma(k, r2, Simd::set1(1.0f));
    Padded sines, cosines, quadrants;
    Simd::store(sines.data, s);
    Simd::store(cosines.data, k);
    Simd::store(quadrants.data, n);
    for (int64_t i = 0; i < lanes; ++i) {
      const int quadrant = static_cast<int>(quadrants.data[i]) & 3;
      const float a = (quadrant & 1) != 0 ? cosines.data[i] : sines.data[i];
      const float b = (quadrant & 1) != 0 ? sines.data[i] : cosines.data[i];
      sin[c + i] = (quadrant & 2) != 0 ? -a : a;
      cos[c + i] = quadrant == 1 || quadrant == 2 ? -b : b;
    }
  }
}

void add_bicubic(const float* const* rows, const float* weights, int64_t count, float* y) {
  int64_t c = 0;
  for (; c + kLanes <= count; c += kLanes) {
    F total = Simd::zero();
    for (int i = 0; i < 4; ++i) {
      F line = Simd::zero();
      for (int j = 0; j < 4; ++j) line = Simd::fma(Simd::set1(weights[j]), Simd::load(rows[4 * i + j] + c), line);
      total = Simd::fma(Simd::set1(weights[4 + i]), line, total);
    }
    Simd::store(y + c, Simd::add(Simd::load(y + c), total));
  }
  for (; c < count; ++c) {
    float total = 0;
    for (int i = 0; i < 4; ++i) {
      float line = 0;
      for (int j = 0; j < 4; ++j) line = __builtin_fmaf(weights[j], rows[4 * i + j][c], line);
      total = __builtin_fmaf(weights[4 + i], line, total);
    }
    y[c] += total;
  }
}

constexpr RowKernels kRowKernels = {
    .widen = widen,
    .narrow = narrow,
    .sum = sum,
    .sum_squares = sum_squares,
    .accumulate = accumulate,
    .scale = scale_row,
    .norm_gelu = norm_gelu,
    .rotate_interleaved = rotate_interleaved,
    .rotate_half_split = rotate_half_split,
    .cos_sin = cos_sin,
    .add_bicubic = add_bicubic,
};
