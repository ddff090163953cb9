// The q, k, v product; then bias, rotation, and q to its buffer, k and v to the cache (or all to one buffer).

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kv_cache.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/products.h"

namespace glimpse::cuda {

namespace {

struct RopeParams {
  const int32_t* count;
  const float* bias;
  const float* cos;
  const float* sin;
  const int32_t* slots;
  int64_t columns;  // of the product
  int32_t num_heads, num_kv_heads, head_dim, num_pairs;
  bool interleaved;
  int64_t q_stride;
};

// One element pair a thread: of head h, the elements that rotate together, or neighbours behind the rotated part.
template <typename P, typename Q, typename K, bool kText>
__global__ void rope_kv_kernel(RopeParams p, const P* product, Q* q, K* keys, K* values, KvLayer kv) {
  launch_dependents();
  wait_for_previous();
  const int64_t t = blockIdx.x;
  if (t >= *p.count) return;
  const int32_t half = p.head_dim / 2;
  const int32_t pairs = (p.num_heads + 2 * p.num_kv_heads) * half;
  const P* row = product + t * p.columns;
  const int32_t slot = kText ? p.slots[t] : 0;
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < pairs; i += static_cast<int32_t>(blockDim.x)) {
    const int32_t head = i / half;
    const int32_t pair = i % half;
    const bool rotates = pair < p.num_pairs && head < p.num_heads + p.num_kv_heads;
    // In the half-split layout the pairs lie num_pairs apart; what does not rotate is taken as neighbours.
    const bool split = !p.interleaved && pair < p.num_pairs;
    const int32_t first = split ? pair : 2 * pair;
    const int32_t second = split ? pair + p.num_pairs : 2 * pair + 1;
    const int32_t at = head * p.head_dim;
    float a = to_f32(row[at + first]);
    float b = to_f32(row[at + second]);
    if (p.bias != nullptr) {
      a += p.bias[at + first];
      b += p.bias[at + second];
    }
    if (rotates) {
      const float cos = p.cos[t * p.num_pairs + pair];
      const float sin = p.sin[t * p.num_pairs + pair];
      const float rotated = a * cos - b * sin;
      b = b * cos + a * sin;
      a = rotated;
    }
    if (!kText || head < p.num_heads) {
      Q* to = q + t * p.q_stride + at;
      put(&to[first], a);
      put(&to[second], b);
    } else if (slot >= 0) {
      const bool is_value = head >= p.num_heads + p.num_kv_heads;
      const int32_t kv_head = head - p.num_heads - (is_value ? p.num_kv_heads : 0);
      K* to = (is_value ? values : keys) + kv.offset(slot, kv_head);
      put(&to[first], a);
      put(&to[second], b);
    }
  }
}

// Eight pairs a thread, for head_dim a multiple of 16, num_pairs one of 8, and rows at multiples of 16 bytes.
template <typename P, typename Q, typename K, bool kText>
__global__ void rope_kv_kernel8(RopeParams p, const P* product, Q* q, K* keys, K* values, KvLayer kv) {
  launch_dependents();
  const int64_t t = blockIdx.x;
  const int32_t units = p.head_dim / 16;  // of a head
  const auto unit = static_cast<int32_t>(threadIdx.x + blockIdx.y * blockDim.x);
  const int32_t head = unit / units;
  if (head >= p.num_heads + 2 * p.num_kv_heads) return;
  const int32_t pair = unit % units * 8;
  const bool rotates = pair < p.num_pairs && head < p.num_heads + p.num_kv_heads;
  const bool split = !p.interleaved && pair < p.num_pairs;
  const int32_t first = split ? pair : 2 * pair;
  const int32_t second = split ? pair + p.num_pairs : 2 * pair + 8;
  float a_bias[8] = {};
  float b_bias[8] = {};
  if (p.bias != nullptr) {
    load8(p.bias + head * p.head_dim + first, a_bias);
    load8(p.bias + head * p.head_dim + second, b_bias);
  }
  wait_for_previous();
  // All of it is asked for before any of it is looked at; rows behind the count are memory of ours as well.
  const int32_t count = *p.count;
  const int32_t slot = kText ? p.slots[t] : 0;
  const P* row = product + t * p.columns + head * p.head_dim;
  float a[8];
  float b[8];
  load8(row + first, a);
  load8(row + second, b);
  float cos[8] = {};
  float sin[8] = {};
  if (rotates) {
    load8(p.cos + t * p.num_pairs + pair, cos);
    load8(p.sin + t * p.num_pairs + pair, sin);
  }
  const bool to_cache = kText && head >= p.num_heads;
  if (t >= count || (to_cache && slot < 0)) return;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    a[i] += a_bias[i];
    b[i] += b_bias[i];
  }
  if (rotates) {
    if (split) {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const float rotated = a[i] * cos[i] - b[i] * sin[i];
        b[i] = b[i] * cos[i] + a[i] * sin[i];
        a[i] = rotated;
      }
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float low = a[2 * i] * cos[i] - a[2 * i + 1] * sin[i];
        a[2 * i + 1] = a[2 * i + 1] * cos[i] + a[2 * i] * sin[i];
        a[2 * i] = low;
        const float high = b[2 * i] * cos[4 + i] - b[2 * i + 1] * sin[4 + i];
        b[2 * i + 1] = b[2 * i + 1] * cos[4 + i] + b[2 * i] * sin[4 + i];
        b[2 * i] = high;
      }
    }
  }
  if (!to_cache) {
    Q* to = q + t * p.q_stride + head * p.head_dim;
    store8(to + first, a);
    store8(to + second, b);
    return;
  }
  const bool is_value = head >= p.num_heads + p.num_kv_heads;
  const int32_t kv_head = head - p.num_heads - (is_value ? p.num_kv_heads : 0);
  K* to = (is_value ? values : keys) + kv.offset(slot, kv_head);
  store8(to + first, a);
  store8(to + second, b);
}

DType product_dtype(const QkvRopeKvArgs& args) {
  return args.tokens.capacity <= kFloatRows || args.weight->format == WeightFormat::kF32 ? DType::kF32 : DType::kBF16;
}

}  // namespace

void qkv_rope_kv(const QkvRopeKvArgs& args, CudaStream& stream) {
  const int64_t m = args.tokens.capacity;
  if (m == 0) return;
  const CudaLinear& weight = cuda_linear(args.weight);
  const DType dtype = product_dtype(args);
  const size_t product_bytes = workspace_part(static_cast<size_t>(m * weight.rows) * dtype_bytes(dtype));
  auto* workspace = stream.workspace<std::byte>(product_bytes + Products::scratch_bytes(weight, m));
  const Matrix product{workspace, dtype, m, weight.rows, weight.rows};
  stream.products().run(weight, args.x, m, product, stream, workspace + product_bytes);

  const Matrix& out = args.qkv ? args.qkv : args.q;
  const RopeParams params{.count = args.tokens.count,
                          .bias = weight.bias(),
                          .cos = args.cos,
                          .sin = args.sin,
                          .slots = args.slot_mapping,
                          .columns = weight.rows,
                          .num_heads = args.num_heads,
                          .num_kv_heads = args.num_kv_heads,
                          .head_dim = args.head_dim,
                          .num_pairs = args.num_pairs,
                          .interleaved = args.layout == RopeLayout::kInterleaved,
                          .q_stride = out.stride};
  // The half-split layout pairs elements up to 2 num_pairs; the rest are neighbours only if that is even, which it is.
  const KvLayer kv = args.kv != nullptr ? kv_layer(*args.kv, args.layer) : KvLayer{};
  const auto rows = static_cast<unsigned>(m);
  // In eights only when everything is aligned to them.
  const int64_t units = (args.num_heads + 2 * args.num_kv_heads) * (args.head_dim / 16);
  const bool eights = args.head_dim % 16 == 0 && args.num_pairs % 8 == 0 && in_eights(out) && units <= 1024 &&
                      reinterpret_cast<uintptr_t>(args.cos) % 32 == 0 &&
                      reinterpret_cast<uintptr_t>(args.sin) % 32 == 0;
  const int threads = eights ? ceil_div(units, 32) * 32 : 256;
  with_type(dtype, [&](auto* in) {
    with_type(out.dtype, [&](auto* to) {
      using P = std::remove_pointer_t<decltype(in)>;
      using Q = std::remove_pointer_t<decltype(to)>;
      const auto* p = static_cast<const P*>(product.data);
      auto* q = static_cast<Q*>(out.data);
      if (args.kv == nullptr) {
        launch(eights ? rope_kv_kernel8<P, Q, float, false> : rope_kv_kernel<P, Q, float, false>, rows, threads, stream,
               params, p, q, nullptr, nullptr, kv);
        return;
      }
      with_type(kv.dtype, [&](auto* stored) {
        using K = std::remove_pointer_t<decltype(stored)>;
        if (dtype == DType::kF32) prefer_shared_memory(reinterpret_cast<const void*>(rope_kv_kernel8<P, Q, K, true>));
        launch(eights ? rope_kv_kernel8<P, Q, K, true> : rope_kv_kernel<P, Q, K, true>, rows, threads, stream, params,
               p, q, static_cast<K*>(kv.k), static_cast<K*>(kv.v), kv);
      });
    });
  });
}

size_t qkv_rope_kv_workspace(const QkvRopeKvArgs& args) {
  const int64_t few = std::min<int64_t>(args.tokens.capacity, kFloatRows);
  const int64_t product =
      std::max(few * args.weight->rows * static_cast<int64_t>(sizeof(float)),
               args.tokens.capacity * args.weight->rows * static_cast<int64_t>(dtype_bytes(product_dtype(args))));
  return workspace_part(static_cast<size_t>(product)) + Products::scratch_bytes(*args.weight, args.tokens.capacity);
}

void kv_read(const KvCache& cache, int32_t layer, int32_t slot, float* k, float* v, CudaStream& stream) {
  const KvLayer kv = kv_layer(cache, layer);
  const size_t size = dtype_bytes(kv.dtype);
  std::vector<std::byte> row(static_cast<size_t>(kv.head_dim) * size);
  stream.synchronize();
  for (int32_t head = 0; head < kv.num_kv_heads; ++head) {
    for (const bool is_value : {false, true}) {
      const auto* from = static_cast<const std::byte*>(is_value ? kv.v : kv.k);
      CUDA_CHECK(cudaMemcpy(row.data(), from + static_cast<size_t>(kv.offset(slot, head)) * size, row.size(),
                            cudaMemcpyDeviceToHost));
      float*& to = is_value ? v : k;
      for (int32_t d = 0; d < kv.head_dim; ++d) {
        *to++ = kv.dtype == DType::kF32 ? reinterpret_cast<const float*>(row.data())[d]
                                        : to_float(reinterpret_cast<const bf16*>(row.data())[d]);
      }
    }
  }
}

}  // namespace glimpse::cuda
