#include "api/base64.h"

#include <immintrin.h>

#include <array>
#include <cstdint>

namespace glimpse {

namespace {

constexpr int8_t kBad = -1;
constexpr int8_t kSpace = -2;
constexpr int8_t kPad = -3;

constexpr std::array<int8_t, 256> base64_table() {
  std::array<int8_t, 256> table{};
  table.fill(kBad);
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    table[static_cast<unsigned char>(kAlphabet[i])] = static_cast<int8_t>(i);
  }
  table['-'] = 62;
  table['_'] = 63;
  for (const char c : {' ', '\t', '\r', '\n'}) table[static_cast<unsigned char>(c)] = kSpace;
  table['='] = kPad;
  return table;
}
constexpr std::array<int8_t, 256> kBase64 = base64_table();

// Where `in` and `out` have come to.
struct Progress {
  const unsigned char* in;
  char* out;
};

// Bytes written at once, of which the last are written again.
constexpr size_t kVectorBytes = 32;

#define GLIMPSE_AVX2 __attribute__((target("avx2"))) inline

GLIMPSE_AVX2 __m256i is(__m256i c, char which) {
  return _mm256_cmpeq_epi8(c, _mm256_set1_epi8(which));
}

GLIMPSE_AVX2 __m256i within(__m256i c, char first, char last) {
  return _mm256_and_si256(_mm256_cmpgt_epi8(c, _mm256_set1_epi8(static_cast<char>(first - 1))),
                          _mm256_cmpgt_epi8(_mm256_set1_epi8(static_cast<char>(last + 1)), c));
}

GLIMPSE_AVX2 void add_range(__m256i mask, char offset, __m256i& known, __m256i& offsets) {
  known = _mm256_or_si256(known, mask);
  offsets = _mm256_or_si256(offsets, _mm256_and_si256(mask, _mm256_set1_epi8(offset)));
}

// 32 characters to 24 bytes at a time, up to the first 32 that are not all digits. At least kVectorBytes have to be
// writable behind what the characters make.
GLIMPSE_AVX2 Progress decode_avx2(Progress at, const unsigned char* end) {
  // In each half, the three bytes of a word in their order of significance, the words side by side.
  const __m256i bytes_of_words = _mm256_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1,  //
                                                  2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
  const __m256i halves_together = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7);
  for (; end - at.in >= 32; at.in += 32, at.out += 24) {
    const __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at.in));
    // What to add to a character for its value; characters above 127 are negative, and in no range.
    __m256i known = _mm256_setzero_si256();
    __m256i offset = _mm256_setzero_si256();
    add_range(within(c, 'A', 'Z'), -'A', known, offset);
    add_range(within(c, 'a', 'z'), 26 - 'a', known, offset);
    add_range(within(c, '0', '9'), 52 - '0', known, offset);
    add_range(is(c, '+'), 62 - '+', known, offset);
    add_range(is(c, '-'), 62 - '-', known, offset);
    add_range(is(c, '/'), 63 - '/', known, offset);
    add_range(is(c, '_'), 63 - '_', known, offset);
    if (_mm256_movemask_epi8(known) != -1) break;
    const __m256i digits = _mm256_add_epi8(c, offset);
    const __m256i pairs = _mm256_maddubs_epi16(digits, _mm256_set1_epi32(0x01400140));  // 12 bits: first * 64 + second
    const __m256i words = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00011000));      // 24 bits
    const __m256i packed = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(words, bytes_of_words), halves_together);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at.out), packed);
  }
  return at;
}

Progress decode_groups(Progress at, const unsigned char* end) {
  static const bool kAvx2 = __builtin_cpu_supports("avx2") != 0;
  if (kAvx2) at = decode_avx2(at, end);
  while (end - at.in >= 4) {
    const int a = kBase64[at.in[0]];
    const int b = kBase64[at.in[1]];
    const int c = kBase64[at.in[2]];
    const int d = kBase64[at.in[3]];
    if ((a | b | c | d) < 0) break;
    const auto group = static_cast<uint32_t>(a << 18 | b << 12 | c << 6 | d);
    *at.out++ = static_cast<char>(group >> 16);
    *at.out++ = static_cast<char>(group >> 8);
    *at.out++ = static_cast<char>(group);
    at.in += 4;
  }
  return at;
}

}  // namespace

ApiResult<std::string> decode_base64(std::string_view text, std::string_view param) {
  std::string bytes(text.size() / 4 * 3 + 3 + kVectorBytes, '\0');
  const auto* in = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = in + text.size();
  char* out = bytes.data();
  uint32_t held = 0;
  int num_held = 0;
  bool padded = false;
  const auto bad = [&](const char* why) {
    return invalid_image(param, std::string(param) + ": the base64 data " + why);
  };
  while (in != end) {
    if (num_held == 0 && !padded) {  // whole groups: nearly all of it
      const Progress at = decode_groups({in, out}, end);
      in = at.in;
      out = at.out;
      if (in == end) break;
    }
    const int digit = kBase64[*in++];
    if (digit == kSpace) continue;
    if (digit == kPad) {
      padded = true;
      continue;
    }
    if (digit == kBad) return bad("contains a character that is not base64");
    if (padded) return bad("goes on behind its padding");
    held = held << 6 | static_cast<uint32_t>(digit);
    if (++num_held == 4) {
      *out++ = static_cast<char>(held >> 16);
      *out++ = static_cast<char>(held >> 8);
      *out++ = static_cast<char>(held);
      num_held = 0;
      held = 0;
    }
  }
  if (num_held == 1) return bad("ends in the middle");
  if (num_held == 2) *out++ = static_cast<char>(held >> 4);
  if (num_held == 3) {
    *out++ = static_cast<char>(held >> 10);
    *out++ = static_cast<char>(held >> 2);
  }
  bytes.resize(static_cast<size_t>(out - bytes.data()));
  if (bytes.empty()) return bad("is empty");
  return bytes;
}

}  // namespace glimpse
