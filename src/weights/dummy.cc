#include "weights/dummy.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/check.h"
#include "weights/isa.h"
#include "weights/safetensors.h"

namespace glimpse {

// Elements come in pairs: pair p is one 32-bit hash of (key, p), whose lower and upper halves are two bytes each, added
// to a triangular integer t in [-255, 255]. A hash of a counter and not a stream, so that any row can be made alone.
namespace {

constexpr float kStdOfT = 104.5F;  // sqrt(2 * (256^2 - 1) / 12)
// Around 1 the step is a power of two, so that 1 + t * step is exact and a fused multiply-add gives the same bits.
constexpr float kNormStep = 0x1p-12F;

GLIMPSE_INLINE uint32_t mix(uint32_t x, uint32_t key0, uint32_t key1) {
  x = (x ^ key0) * 0x9e3779b1u;
  x = (x ^ (x >> 16) ^ key1) * 0x85ebca6bu;
  x = (x ^ (x >> 13)) * 0xc2b2ae35u;
  return x ^ (x >> 16);
}

struct Affine {
  float mean;
  float step;
};

// The bits of mean + t * step as bf16, rounded to nearest; finite.
GLIMPSE_INLINE uint32_t element(uint32_t half, Affine affine) {
  const int32_t t = static_cast<int32_t>((half & 0xffu) + (half >> 8)) - 255;
  const uint32_t bits = std::bit_cast<uint32_t>(affine.mean + static_cast<float>(t) * affine.step);
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

struct FillBF16 {
  static GLIMPSE_INLINE void run(uint32_t first_pair, uint32_t num_pairs, uint32_t key0, uint32_t key1, Affine affine,
                                 bf16* out) {
    for (uint32_t i = 0; i < num_pairs; ++i) {
      const uint32_t hash = mix(first_pair + i, key0, key1);
      const uint32_t both = element(hash & 0xffffu, affine) | (element(hash >> 16, affine) << 16);
      std::memcpy(static_cast<void*>(out + 2 * size_t{i}), &both, 4);
    }
  }
};

struct FillF32 {
  static GLIMPSE_INLINE void run(uint32_t first_pair, uint32_t num_pairs, uint32_t key0, uint32_t key1, Affine affine,
                                 float* out) {
    for (uint32_t i = 0; i < num_pairs; ++i) {
      const uint32_t hash = mix(first_pair + i, key0, key1);
      out[2 * size_t{i}] = std::bit_cast<float>(element(hash & 0xffffu, affine) << 16);
      out[2 * size_t{i} + 1] = std::bit_cast<float>(element(hash >> 16, affine) << 16);
    }
  }
};

Affine affine_of(float mean) {
  return {.mean = mean, .step = mean != 0 ? kNormStep : DummySource::kStd / kStdOfT};
}

// Elements [first, first + out.size()) of the tensor with these keys.
template <typename Fill, typename T>
void fill(uint32_t key0, uint32_t key1, Affine affine, int64_t first, std::span<T> out) {
  auto position = static_cast<uint64_t>(first);
  T* to = out.data();
  size_t left = out.size();
  // A pair of which only one element is wanted is made aside.
  const auto single = [&] {
    T both[2];
    const uint64_t pair = position / 2;
    Fill::run(static_cast<uint32_t>(pair), 1, key0 ^ static_cast<uint32_t>(pair >> 32), key1, affine, both);
    *to++ = both[position % 2];
    ++position;
    --left;
  };
  if (left > 0 && position % 2 == 1) single();
  while (left >= 2) {
    const uint64_t pair = position / 2;
    const uint64_t to_wrap = (uint64_t{1} << 32) - static_cast<uint32_t>(pair);  // the upper half is part of the key
    const auto count = static_cast<uint32_t>(std::min({uint64_t{left / 2}, to_wrap, uint64_t{1} << 31}));
    run_best_isa<Fill>(static_cast<uint32_t>(pair), count, key0 ^ static_cast<uint32_t>(pair >> 32), key1, affine, to);
    to += 2 * size_t{count};
    position += 2 * uint64_t{count};
    left -= 2 * size_t{count};
  }
  if (left == 1) single();
}

// FNV-1a: the same on every machine and in every build, which std::hash is not.
uint64_t hash_name(std::string_view name, uint64_t seed) {
  uint64_t hash = 0xcbf29ce484222325u ^ (seed * 0x9e3779b97f4a7c15u);
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash ^ (hash >> 29);
}

bool is_norm_weight(std::string_view name) {
  return name.ends_with(".weight") && name.find("norm") != name.npos;
}

std::vector<TensorInfo> sorted_infos(std::vector<TensorSpec> specs) {
  std::sort(specs.begin(), specs.end(), [](const TensorSpec& a, const TensorSpec& b) { return a.name < b.name; });
  std::vector<TensorInfo> infos;
  for (TensorSpec& spec : specs) {
    CHECK(infos.empty() || infos.back().name != spec.name, spec.name);
    CHECK(num_elements(spec.shape), spec.name, shape_text(spec.shape));
    infos.push_back({.name = std::move(spec.name), .dtype = DType::kBF16, .shape = std::move(spec.shape), .file = {}});
  }
  return infos;
}

}  // namespace

DummySource::DummySource(std::vector<TensorSpec> specs, uint64_t seed) : WeightSource(sorted_infos(std::move(specs))) {
  for (const TensorInfo& info : tensors()) {
    const uint64_t hash = hash_name(info.name, seed);
    streams_.push_back({.key = {static_cast<uint32_t>(hash), static_cast<uint32_t>(hash >> 32)},
                        .mean = is_norm_weight(info.name) ? 1.0F : 0.0F});
  }
}

Status DummySource::read(size_t index, int64_t first, std::span<float> out) const {
  const Stream& stream = streams_[index];
  fill<FillF32>(stream.key[0], stream.key[1], affine_of(stream.mean), first, out);
  return {};
}

Status DummySource::read(size_t index, int64_t first, std::span<bf16> out) const {
  const Stream& stream = streams_[index];
  fill<FillBF16>(stream.key[0], stream.key[1], affine_of(stream.mean), first, out);
  return {};
}

}  // namespace glimpse
