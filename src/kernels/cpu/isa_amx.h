// Text for the .cc files that use AMX's tile registers: eight of them, tmm0 to tmm7, each of up to 16 rows of 64 bytes.
// As assembly with a memory clobber, because g++ 12's intrinsics do not tell the compiler what memory they read: it
// drops or moves the stores before them, those to the configuration among them.

#define GLIMPSE_INLINE [[gnu::always_inline]] static inline

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t zero[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

// Before the first use of tiles in a thread, and after the last one: while it is configured every switch to another
// thread saves 8 KiB more.
GLIMPSE_INLINE void configure_tiles(const TileConfig& config) {
  asm volatile("ldtilecfg %0" : : "m"(config) : "memory");
}
GLIMPSE_INLINE void release_tiles() {
  asm volatile("tilerelease" : : : "memory");
}

// Rows of the tile `stride` bytes apart.
template <int kTile>
GLIMPSE_INLINE void load_tile(const void* from, int64_t stride) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(kTile), "r"(from), "r"(stride) : "memory");
}
template <int kTile>
GLIMPSE_INLINE void store_tile(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(kTile), "r"(to), "r"(stride) : "memory");
}
template <int kTile>
GLIMPSE_INLINE void zero_tile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}
// c[m][n] += sum over k of a[m][k] b[k][n], k in 32-bit words of 2 bfloat16. A tile's sum is made first (even columns,
// odd columns, then both) and added to c at the end; subnormal numbers count as zero.
template <int kC, int kA, int kB>
GLIMPSE_INLINE void dot_bf16_tiles() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
}
// The same of signed bytes, four in a word, summed in 32-bit integers.
template <int kC, int kA, int kB>
GLIMPSE_INLINE void dot_i8_tiles() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
}
