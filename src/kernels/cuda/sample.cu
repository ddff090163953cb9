// Draws tokens: one block a row. Weights are integers (36 bits below the point), so that every sum over the vocabulary
// is exact and does not depend on its order; the draw walks through the ids upwards, as the host's sampler does.

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ops.h"

namespace glimpse::cuda {

namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;
constexpr int32_t kSegment = 2048;     // ids that a warp sums up at a time
constexpr int32_t kMaxSegments = 512;  // vocabularies of up to a million
constexpr float kFixedOne = 0x1p36f;
constexpr float kNegligible = -32;  // scaled logits below weigh nothing, as on the host
constexpr int kLooks = 4;           // where to look for the likeliest tokens: see `looks`

__device__ float philox_uniform(uint64_t key, uint64_t counter) {
  uint32_t x[4] = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0};
  uint32_t k[2] = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * x[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * x[2];
    const uint32_t next[4] = {static_cast<uint32_t>(b >> 32) ^ x[1] ^ k[0], static_cast<uint32_t>(b),
                              static_cast<uint32_t>(a >> 32) ^ x[3] ^ k[1], static_cast<uint32_t>(a)};
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = next[i];
    k[0] += 0x9E3779B9;
    k[1] += 0xBB67AE85;
  }
  return static_cast<float>(x[0] >> 8) * 0x1p-24f;
}

// Larger for a larger value, and for the lower id among equals; NaN counts as minus infinity.
__device__ uint64_t rank_of(float value, int32_t id) {
  if (!(value == value)) value = -INFINITY;
  const uint32_t bits = __float_as_uint(value);
  const uint32_t ordered = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return (uint64_t{ordered} << 32) | static_cast<uint32_t>(0x7fffffff - id);
}

struct Shared {
  uint64_t segments[kMaxSegments];
  uint64_t warp[kWarps];
  uint64_t result;
  uint64_t mass[256];
  uint32_t count[256];
  uint64_t look_mass[kLooks];
  uint32_t look_count[kLooks];
  uint32_t key;        // of the last token that is kept
  uint32_t ties_kept;  // of those with this key
  uint32_t ties;
  uint64_t wanted;
  uint32_t wanted_count;
  int32_t found;
};

__device__ uint64_t block_max(uint64_t x, Shared& s) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = max(x, __shfl_xor_sync(0xffffffffu, x, offset));
  if (threadIdx.x % 32 == 0) s.warp[threadIdx.x / 32] = x;
  __syncthreads();
  x = s.warp[threadIdx.x % 32];
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = max(x, __shfl_xor_sync(0xffffffffu, x, offset));
  __syncthreads();
  return x;
}

// Sums value(id) over segments of ids; returns the sum of all to every thread.
template <typename Value>
__device__ uint64_t sum_segments(int32_t vocab, const Value& value, Shared& s) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int32_t segments = (vocab + kSegment - 1) / kSegment;
  for (int32_t segment = static_cast<int32_t>(threadIdx.x) / 32; segment < segments; segment += kWarps) {
    const int32_t end = min(vocab, (segment + 1) * kSegment);
    uint64_t sum = 0;
    for (int32_t id = segment * kSegment + lane; id < end; id += 32) sum += value(id);
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (lane == 0) s.segments[segment] = sum;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    uint64_t total = 0;
    for (int32_t segment = 0; segment < segments; ++segment) total += s.segments[segment];
    s.result = total;
  }
  __syncthreads();
  return s.result;
}

// After sum_segments: the first id at which the running sum exceeds `target`, which has to be below the sum of all.
template <typename Value>
__device__ int32_t locate(int32_t vocab, uint64_t target, const Value& value, Shared& s) {
  if (threadIdx.x < 32) {
    const int lane = static_cast<int>(threadIdx.x);
    int32_t segment = 0;
    uint64_t before = 0;
    while (before + s.segments[segment] <= target) before += s.segments[segment++];
    const int32_t end = min(vocab, (segment + 1) * kSegment);
    for (int32_t first = segment * kSegment; first < end; first += 32) {
      const int32_t id = first + lane;
      uint64_t sum = id < end ? value(id) : 0;
#pragma unroll
      for (int offset = 1; offset < 32; offset *= 2) {
        const uint64_t other = __shfl_up_sync(0xffffffffu, sum, offset);
        if (lane >= offset) sum += other;
      }
      const uint32_t past = __ballot_sync(0xffffffffu, before + sum > target);
      if (past != 0) {
        if (lane == 0) s.found = first + __ffs(static_cast<int>(past)) - 1;
        break;
      }
      before += __shfl_sync(0xffffffffu, sum, 31);
    }
  }
  __syncthreads();
  return s.found;
}

// The parts of a row's distribution, from its logits.
struct Row {
  const float* logits;
  float top;
  float temperature;

  // Distance below the likeliest, scaled: its bits order tokens from the likeliest on. Infinity for what weighs
  // nothing.
  __device__ float depth(int32_t id) const {
    const float logit = logits[id];
    const float scaled = (logit - top) / temperature;
    return scaled >= kNegligible ? fabsf(scaled) : INFINITY;  // NaN compares false
  }
  __device__ static float weight(float depth) { return depth < INFINITY ? expf(-depth) : 0.0f; }
  __device__ static uint64_t fixed(float weight) { return static_cast<uint64_t>(weight * kFixedOne); }
};

// The last token that top_k and top_p keep: its key, and how many of those that share it.
__device__ void find_last(const Row& row, int32_t vocab, int32_t top_k, float top_p, Shared& s) {
  constexpr float kLookDepths[kLooks] = {4, 8, 16, 32};
  if (threadIdx.x < kLooks) {
    s.look_mass[threadIdx.x] = 0;
    s.look_count[threadIdx.x] = 0;
  }
  __syncthreads();
  uint64_t mass[kLooks] = {};
  uint32_t count[kLooks] = {};
  for (int32_t id = static_cast<int32_t>(threadIdx.x); id < vocab; id += kThreads) {
    const float depth = row.depth(id);
    if (!(depth < INFINITY)) continue;
    const uint64_t weight = Row::fixed(Row::weight(depth));
#pragma unroll
    for (int i = 0; i < kLooks; ++i) {
      if (depth <= kLookDepths[i]) {
        mass[i] += weight;
        ++count[i];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kLooks; ++i) {
    for (int offset = 16; offset > 0; offset /= 2) {
      mass[i] += __shfl_xor_sync(0xffffffffu, mass[i], offset);
      count[i] += __shfl_xor_sync(0xffffffffu, count[i], offset);
    }
    if (threadIdx.x % 32 == 0) {
      atomicAdd(reinterpret_cast<unsigned long long*>(&s.look_mass[i]), static_cast<unsigned long long>(mass[i]));
      atomicAdd(&s.look_count[i], count[i]);
    }
  }
  __syncthreads();
  const uint64_t total = s.look_mass[kLooks - 1];
  const uint32_t all = s.look_count[kLooks - 1];
  const uint32_t k = top_k > 0 ? min(static_cast<uint32_t>(top_k), all) : all;
  auto wanted = static_cast<uint64_t>(ceil(static_cast<double>(total) * static_cast<double>(top_p)));
  int look = kLooks - 1;
  for (int i = kLooks - 2; i >= 0; --i) {
    if (top_k > 0 ? s.look_count[i] >= k : s.look_mass[i] >= wanted) look = i;
  }
  const float deepest = kLookDepths[look];

  // Byte by byte from the top: the key at which `k` tokens are reached; then, within those, the one at which the mass
  // is.
  uint64_t mass_limit = ~uint64_t{0};
  for (int phase = top_k > 0 ? 0 : 1; phase < 2; ++phase) {
    if (phase == 1 && !(top_p < 1)) break;
    const bool by_count = phase == 0;
    uint32_t prefix = 0;
    uint64_t mass_above = 0;  // of tokens before those with the prefix
    uint32_t count_above = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
      if (threadIdx.x < 256) {
        s.mass[threadIdx.x] = 0;
        s.count[threadIdx.x] = 0;
      }
      __syncthreads();
      for (int32_t id = static_cast<int32_t>(threadIdx.x); id < vocab; id += kThreads) {
        const float depth = row.depth(id);
        if (!(depth <= deepest)) continue;
        const uint32_t key = __float_as_uint(depth);
        if (shift < 24 && (key >> (shift + 8)) != prefix) continue;
        atomicAdd(reinterpret_cast<unsigned long long*>(&s.mass[key >> shift & 255]),
                  static_cast<unsigned long long>(Row::fixed(Row::weight(depth))));
        atomicAdd(&s.count[key >> shift & 255], 1u);
      }
      __syncthreads();
      // Every thread walks alike.
      uint32_t digit = 0;
      for (; digit < 255; ++digit) {
        const bool reached =
            by_count ? count_above + s.count[digit] >= k : mass_above + s.mass[digit] >= min(wanted, mass_limit);
        if (reached) break;
        mass_above += s.mass[digit];
        count_above += s.count[digit];
      }
      prefix = prefix << 8 | digit;
      if (shift == 0 && threadIdx.x == 0) {
        const uint32_t ties = s.count[digit];
        const uint64_t each = ties > 0 ? s.mass[digit] / ties : 0;
        uint32_t kept = ties;
        if (by_count) {
          kept = min(ties, k - min(k, count_above));
        } else if (each > 0) {
          const uint64_t missing = min(wanted, mass_limit) - min(mass_above, min(wanted, mass_limit));
          kept = static_cast<uint32_t>(min(static_cast<uint64_t>(ties), max(uint64_t{1}, (missing + each - 1) / each)));
        }
        s.key = prefix;
        s.ties = ties;
        s.ties_kept = kept;
        s.wanted = mass_above + kept * each;
      }
      __syncthreads();
    }
    if (by_count) {  // top_p is of what top_k left
      mass_limit = s.wanted;
      wanted = static_cast<uint64_t>(ceil(static_cast<double>(mass_limit) * static_cast<double>(top_p)));
      __syncthreads();
    }
  }
}

__global__ void __launch_bounds__(kThreads) sample_kernel(SampleArgs args, float* adjusted_rows) {
  __shared__ Shared s;
  launch_dependents();
  wait_for_previous();
  const int32_t r = static_cast<int32_t>(blockIdx.x);
  if (r >= *args.rows.count) return;
  const int32_t slot_id = args.row_slots[r];
  if (slot_id < 0) return;
  SampleSlot& slot = args.slots[slot_id];
  if (slot.on_host != 0) return;
  const auto vocab = static_cast<int32_t>(args.logits.cols);
  const float* logits = static_cast<const float*>(args.logits.data) + r * args.logits.stride;
  uint16_t* history = args.history + int64_t{slot_id} * vocab;
  const uint64_t position = slot.position;

  const bool masks_stops = position < static_cast<uint64_t>(slot.min_tokens) && slot.num_stop > 0;
  if (slot.num_bias > 0 || masks_stops || slot.has_penalties != 0) {
    float* adjusted = adjusted_rows + int64_t{r} * vocab;
    for (int32_t id = static_cast<int32_t>(threadIdx.x); id < vocab; id += kThreads) adjusted[id] = logits[id];
    __syncthreads();
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < slot.num_bias; i += kThreads) {
      adjusted[slot.bias_ids[i]] += slot.bias_values[i];
    }
    __syncthreads();
    if (masks_stops && static_cast<int32_t>(threadIdx.x) < slot.num_stop) {
      adjusted[slot.stop_ids[threadIdx.x]] = -INFINITY;
    }
    __syncthreads();
    if (slot.has_penalties != 0) {
      for (int32_t id = static_cast<int32_t>(threadIdx.x); id < vocab; id += kThreads) {
        const uint16_t had = history[id];
        if (had == 0) continue;
        const int32_t count = had & SampleArgs::kCountMask;
        float logit = adjusted[id];
        logit = logit > 0 ? logit / slot.repetition_penalty : logit * slot.repetition_penalty;
        logit -= slot.frequency_penalty * static_cast<float>(count);
        if (count > 0) logit -= slot.presence_penalty;
        adjusted[id] = logit;
      }
      __syncthreads();
    }
    logits = adjusted;
  }

  uint64_t best = 0;
  for (int32_t id = static_cast<int32_t>(threadIdx.x); id < vocab; id += kThreads) {
    best = max(best, rank_of(logits[id], id));
  }
  best = block_max(best, s);
  auto token = static_cast<int32_t>(0x7fffffffu - static_cast<uint32_t>(best));
  const float top = logits[token];
  if (slot.temperature != 0 && isfinite(top)) {
    const Row row{logits, top, slot.temperature};
    const bool cut = slot.top_k > 0 || slot.top_p < 1;
    uint32_t last_key = 0x7f800000u;  // nothing that weighs anything lies as deep
    int32_t last_id = vocab;          // of those with last_key
    if (cut) {
      find_last(row, vocab, slot.top_k, slot.top_p, s);
      last_key = s.key;
      if (s.ties_kept < s.ties) {
        const uint32_t kept = s.ties_kept;
        const auto tie = [&](int32_t id) { return uint64_t{__float_as_uint(row.depth(id)) == last_key}; };
        sum_segments(vocab, tie, s);
        last_id = locate(vocab, kept - 1, tie, s);
        __syncthreads();
      }
    }
    const float min_p = slot.min_p;
    const auto kept_weight = [&](int32_t id) -> uint64_t {
      const float depth = row.depth(id);
      const uint32_t key = __float_as_uint(depth);
      if (key > last_key || (key == last_key && id > last_id)) return 0;
      const float weight = Row::weight(depth);
      return weight < min_p ? 0 : Row::fixed(weight);
    };
    const uint64_t total = sum_segments(vocab, kept_weight, s);
    const auto target =
        static_cast<uint64_t>(static_cast<double>(total) * static_cast<double>(philox_uniform(slot.seed, position)));
    if (total > 0) token = locate(vocab, min(target, total - 1), kept_weight, s);
  }
  if (threadIdx.x == 0) {
    args.ids[r] = token;
    args.last_ids[slot_id] = token;
    slot.position = position + 1;
    if (slot.has_penalties != 0 && (history[token] & SampleArgs::kCountMask) != SampleArgs::kCountMask) {
      ++history[token];
    }
  }
}

}  // namespace

void sample(const SampleArgs& args, CudaStream& stream) {
  if (args.rows.capacity == 0) return;
  CHECK(args.logits.cols <= int64_t{kSegment} * kMaxSegments, args.logits.cols);
  auto* adjusted = stream.workspace<float>(static_cast<size_t>(args.rows.capacity * args.logits.cols));
  launch(sample_kernel, static_cast<unsigned>(args.rows.capacity), kThreads, stream, args, adjusted);
}

size_t sample_workspace(const SampleArgs& args) {
  return static_cast<size_t>(args.rows.capacity * args.logits.cols) * sizeof(float);
}

}  // namespace glimpse::cuda
