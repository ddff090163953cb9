// Text for the files that hold one instruction set each, after they have defined Simd (see isa_avx512.h): what flash
// attention does with scores (see attention_kernels.h).

using F = Simd::F;
using I = Simd::I;
constexpr int kLanes = Simd::kLanes;

struct DotF32 {
  static constexpr int kPerWord = 1;
  GLIMPSE_INLINE F dot(F acc, I w, I x) { return Simd::fma(Simd::as_float(w), Simd::as_float(x), acc); }
  GLIMPSE_INLINE void store_weights(uint32_t* weights, int64_t token, F x) {
    Simd::store(reinterpret_cast<float*>(weights) + token, x);
  }
  // 2^x on [-0.5, 0.5], minimax: relative error 1.9e-9 before rounding.
  GLIMPSE_INLINE F power(F x) {
    F p = Simd::fma(Simd::set1(0.000153458124f), x, Simd::set1(0.00133999309f));
    p = Simd::fma(p, x, Simd::set1(0.00961848907f));
    p = Simd::fma(p, x, Simd::set1(0.0555032864f));
    p = Simd::fma(p, x, Simd::set1(0.240226462f));
    p = Simd::fma(p, x, Simd::set1(0.693147182f));
    return Simd::fma(p, x, Simd::set1(1.0f));
  }
};

struct DotBf16 {
  static constexpr int kPerWord = 2;
  GLIMPSE_INLINE F dot(F acc, I w, I x) { return Simd::dot_bf16(acc, w, x); }
  GLIMPSE_INLINE void store_weights(uint32_t* weights, int64_t token, F x) {
    Simd::round_bf16(reinterpret_cast<bf16*>(weights) + token, x);
  }
  // Relative error 2.6e-6; the result is rounded to 8 bits (2e-3).
  GLIMPSE_INLINE F power(F x) {
    F p = Simd::fma(Simd::set1(0.00957010221f), x, Simd::set1(0.0559178628f));
    p = Simd::fma(p, x, Simd::set1(0.240247443f));
    p = Simd::fma(p, x, Simd::set1(0.693121791f));
    return Simd::fma(p, x, Simd::set1(0.999999285f));
  }
};

template <class Dot>
GLIMPSE_INLINE F exp2(F x) {
  const F n = Simd::round(x);
  return Simd::scale_by_power(Dot::power(Simd::sub(x, n)), n);
}

GLIMPSE_INLINE float reduce_add(F x) {
  alignas(64) float lanes[kLanes];
  Simd::store(lanes, x);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

// Scores to weights; moves the maxima and the sums of the weights. Weights are complete up to the vector that holds the
// tile's last token, or to a multiple of kMultiple tokens; what a row does not see has weight zero, whatever its score
// is.
template <class Dot, int kMultiple = kLanes>
void compute_weights(AttentionState& state, const AttentionTile& tile) {
  constexpr int kWeightWords = kTileTokens / Dot::kPerWord;
  const F scale = Simd::set1(state.scale);
  alignas(64) float old_max[kMaxQueryRows];
  for (int r = 0; r < state.rows; ++r) {
    const float* scores = state.scores + r * kTileTokens;
    const int visible = tile.visible == nullptr || tile.visible[r] > tile.tokens ? tile.tokens : tile.visible[r];
    old_max[r] = state.max[r];
    if (visible <= 0) continue;
    F max = Simd::set1(-INFINITY);
    int t = 0;
    for (; t + kLanes <= visible; t += kLanes) max = Simd::max(max, Simd::load(scores + t));
    if (t < visible) {
      max = Simd::max(max, Simd::first_lanes(Simd::load(scores + t), visible - t, Simd::set1(-INFINITY)));
    }
    const float scaled = Simd::reduce_max(max) * state.scale;
    if (scaled > state.max[r]) state.max[r] = scaled;
  }
  for (int r = 0; r < state.rows; r += kLanes) {
    // max(NaN, x) is x: a row that has seen nothing (both maxima -infinity) shrinks by 2^-200, which is zero.
    const F moved = Simd::max(Simd::sub(Simd::load(old_max + r), Simd::load(state.max + r)), Simd::set1(-200.0f));
    Simd::store(state.shrink + r, exp2<DotF32>(moved));
  }
  const int end = (tile.tokens + kMultiple - 1) / kMultiple * kMultiple;
  for (int r = 0; r < state.rows; ++r) {
    const float* scores = state.scores + r * kTileTokens;
    uint32_t* weights = state.weights + r * kWeightWords;
    const int visible = tile.visible == nullptr || tile.visible[r] > tile.tokens ? tile.tokens : tile.visible[r];
    const F max = Simd::set1(state.max[r]);
    F sum = Simd::zero();
    int t = 0;
    for (; t + kLanes <= visible; t += kLanes) {
      const F weight = exp2<Dot>(Simd::fms(Simd::load(scores + t), scale, max));
      sum = Simd::add(sum, weight);
      Dot::store_weights(weights, t, weight);
    }
    if (t < visible) {
      F weight = exp2<Dot>(Simd::fms(Simd::load(scores + t), scale, max));
      weight = Simd::first_lanes(weight, visible - t, Simd::zero());
      sum = Simd::add(sum, weight);
      Dot::store_weights(weights, t, weight);
      t += kLanes;
    }
    for (; t < end; t += kLanes) Dot::store_weights(weights, t, Simd::zero());
    state.weight_sum[r] = state.weight_sum[r] * state.shrink[r] + reduce_add(sum);
  }
}
