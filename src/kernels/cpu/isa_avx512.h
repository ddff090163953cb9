// Not a header of declarations: text for a .cc file that has switched its target to AVX-512 (F, BW, DQ, VL). Everything
// in here compiles for that target, in the including file's anonymous namespace, so that nothing of it can be picked by
// the linker for another one. No include guard for the same reason.

#define GLIMPSE_INLINE [[gnu::always_inline]] static inline

struct Simd512 {
  static constexpr int kLanes = 16;
  using F = __m512;
  using I = __m512i;

  GLIMPSE_INLINE F load(const float* p) { return _mm512_loadu_ps(p); }
  GLIMPSE_INLINE void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  GLIMPSE_INLINE F zero() { return _mm512_setzero_ps(); }
  GLIMPSE_INLINE F set1(float x) { return _mm512_set1_ps(x); }
  GLIMPSE_INLINE F add(F a, F b) { return _mm512_add_ps(a, b); }
  GLIMPSE_INLINE F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  GLIMPSE_INLINE F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  GLIMPSE_INLINE F div(F a, F b) { return _mm512_div_ps(a, b); }
  GLIMPSE_INLINE F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  GLIMPSE_INLINE F fnma(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }
  // a b - c in even lanes, a b + c in odd ones.
  GLIMPSE_INLINE F fma_alternating(F a, F b, F c) { return _mm512_fmaddsub_ps(a, b, c); }
  GLIMPSE_INLINE F swap_neighbours(F a) { return _mm512_permute_ps(a, 0xb1); }
  // The lower or the upper half of the lanes, each twice.
  GLIMPSE_INLINE F twice_low(F a) {
    return _mm512_permutexvar_ps(_mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0), a);
  }
  GLIMPSE_INLINE F twice_high(F a) {
    return _mm512_permutexvar_ps(_mm512_set_epi32(15, 15, 14, 14, 13, 13, 12, 12, 11, 11, 10, 10, 9, 9, 8, 8), a);
  }
  GLIMPSE_INLINE F min(F a, F b) { return _mm512_min_ps(a, b); }
  GLIMPSE_INLINE F max(F a, F b) { return _mm512_max_ps(a, b); }
  GLIMPSE_INLINE F abs(F a) { return _mm512_abs_ps(a); }
  GLIMPSE_INLINE F round(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  // a < 0 ? b : c, lane by lane, by the sign bit of a.
  GLIMPSE_INLINE F if_negative(F a, F b, F c) {
    return _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(a)), c, b);
  }
  // x * 2^n for integral n; overflows to infinity, underflows to zero.
  GLIMPSE_INLINE F scale_by_power(F x, F n) { return _mm512_scalef_ps(x, n); }
  GLIMPSE_INLINE float reduce_max(F x) { return _mm512_reduce_max_ps(x); }
  GLIMPSE_INLINE F load_f16(const f16* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  // Rounded as to_bf16() rounds: vcvtneps2bf16 would flush subnormal values to zero.
  GLIMPSE_INLINE void store_bf16(bf16* p, F x) {
    const I bits = _mm512_castps_si512(x);
    const I odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    I rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
  }

  GLIMPSE_INLINE I load_int(const void* p) { return _mm512_loadu_si512(p); }
  GLIMPSE_INLINE void store_int(void* p, I x) { _mm512_storeu_si512(p, x); }
  GLIMPSE_INLINE I zero_int() { return _mm512_setzero_si512(); }
  GLIMPSE_INLINE I set1_int(int32_t x) { return _mm512_set1_epi32(x); }
  GLIMPSE_INLINE I broadcast(const std::byte* p) {
    int32_t x;
    __builtin_memcpy(&x, p, 4);
    return _mm512_set1_epi32(x);
  }
  GLIMPSE_INLINE F as_float(I x) { return _mm512_castsi512_ps(x); }
  GLIMPSE_INLINE F to_float(I x) { return _mm512_cvtepi32_ps(x); }
  GLIMPSE_INLINE I to_int(F x) { return _mm512_cvtps_epi32(x); }
  GLIMPSE_INLINE I add_int(I a, I b) { return _mm512_add_epi32(a, b); }
  GLIMPSE_INLINE int32_t reduce_add(I x) { return _mm512_reduce_add_epi32(x); }
  GLIMPSE_INLINE I low_nibbles(I x) { return _mm512_and_si512(x, _mm512_set1_epi8(15)); }
  GLIMPSE_INLINE I high_nibbles(I x) { return _mm512_and_si512(_mm512_srli_epi16(x, 4), _mm512_set1_epi8(15)); }
  // Stores the lanes as int8; they are within [-128, 127].
  GLIMPSE_INLINE void store_i8(int8_t* p, I x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x));
  }
};
