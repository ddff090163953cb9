// As isa_avx512.h, for AVX2, FMA and F16C.

#define GLIMPSE_INLINE [[gnu::always_inline]] static inline

struct Simd256 {
  static constexpr int kLanes = 8;
  using F = __m256;
  using I = __m256i;

  GLIMPSE_INLINE F load(const float* p) { return _mm256_loadu_ps(p); }
  GLIMPSE_INLINE void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  GLIMPSE_INLINE F zero() { return _mm256_setzero_ps(); }
  GLIMPSE_INLINE F set1(float x) { return _mm256_set1_ps(x); }
  GLIMPSE_INLINE F add(F a, F b) { return _mm256_add_ps(a, b); }
  GLIMPSE_INLINE F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  GLIMPSE_INLINE F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  GLIMPSE_INLINE F div(F a, F b) { return _mm256_div_ps(a, b); }
  GLIMPSE_INLINE F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  GLIMPSE_INLINE F fnma(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }
  // a b - c in even lanes, a b + c in odd ones.
  GLIMPSE_INLINE F fma_alternating(F a, F b, F c) { return _mm256_fmaddsub_ps(a, b, c); }
  GLIMPSE_INLINE F swap_neighbours(F a) { return _mm256_permute_ps(a, 0xb1); }
  // The lower or the upper half of the lanes, each twice.
  GLIMPSE_INLINE F twice_low(F a) { return _mm256_permutevar8x32_ps(a, _mm256_set_epi32(3, 3, 2, 2, 1, 1, 0, 0)); }
  GLIMPSE_INLINE F twice_high(F a) { return _mm256_permutevar8x32_ps(a, _mm256_set_epi32(7, 7, 6, 6, 5, 5, 4, 4)); }
  GLIMPSE_INLINE F min(F a, F b) { return _mm256_min_ps(a, b); }
  GLIMPSE_INLINE F max(F a, F b) { return _mm256_max_ps(a, b); }
  GLIMPSE_INLINE F abs(F a) { return _mm256_and_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff))); }
  GLIMPSE_INLINE F round(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  // a < 0 ? b : c, lane by lane, by the sign bit of a.
  GLIMPSE_INLINE F if_negative(F a, F b, F c) { return _mm256_blendv_ps(c, b, a); }
  // x * 2^n for integral n; overflows to infinity, underflows to zero. In two halves, so that neither factor does.
  GLIMPSE_INLINE F scale_by_power(F x, F n) {
    const I whole = _mm256_cvtps_epi32(min(max(n, set1(-252.0f)), set1(252.0f)));
    const I half = _mm256_srai_epi32(whole, 1);
    const I rest = _mm256_sub_epi32(whole, half);
    const I one = _mm256_set1_epi32(127);
    const F a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, one), 23));
    const F b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, one), 23));
    return mul(mul(x, a), b);
  }
  GLIMPSE_INLINE float reduce_max(F x) {
    __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
  }
  GLIMPSE_INLINE F load_f16(const f16* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  GLIMPSE_INLINE void store_bf16(bf16* p, F x) {
    const I bits = _mm256_castps_si256(x);
    const I odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const I rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const I quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const F nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    const I chosen = _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(nan));
    const I high = _mm256_srli_epi32(chosen, 16);
    const I packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(high, high), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
  }

  GLIMPSE_INLINE I load_int(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  GLIMPSE_INLINE void store_int(void* p, I x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
  GLIMPSE_INLINE I zero_int() { return _mm256_setzero_si256(); }
  GLIMPSE_INLINE I set1_int(int32_t x) { return _mm256_set1_epi32(x); }
  GLIMPSE_INLINE I broadcast(const std::byte* p) {
    int32_t x;
    __builtin_memcpy(&x, p, 4);
    return _mm256_set1_epi32(x);
  }
  GLIMPSE_INLINE F as_float(I x) { return _mm256_castsi256_ps(x); }
  GLIMPSE_INLINE F to_float(I x) { return _mm256_cvtepi32_ps(x); }
  GLIMPSE_INLINE I to_int(F x) { return _mm256_cvtps_epi32(x); }
  GLIMPSE_INLINE I add_int(I a, I b) { return _mm256_add_epi32(a, b); }
  GLIMPSE_INLINE int32_t reduce_add(I x) {
    __m128i y = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    y = _mm_add_epi32(y, _mm_shuffle_epi32(y, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(y, _mm_shuffle_epi32(y, 0xb1)));
  }
  GLIMPSE_INLINE I low_nibbles(I x) { return _mm256_and_si256(x, _mm256_set1_epi8(15)); }
  GLIMPSE_INLINE I high_nibbles(I x) { return _mm256_and_si256(_mm256_srli_epi16(x, 4), _mm256_set1_epi8(15)); }
  GLIMPSE_INLINE void store_i8(int8_t* p, I x) {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
  }
};
