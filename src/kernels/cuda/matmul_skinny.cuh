#pragma once

// Bf16 and fp8 products of up to 16 rows of x: a stream of the weights, as fast as memory gives them. Private to
// matmul_skinny*.cu; int4 has a kernel of its own (matmul_skinny_i4.cu).
//
// The grid is one CTA per SM, and each owns an equal run of W's rows (of gate/up pairs): no split of K over CTAs, so no
// second pass, and the largest share is one row above the smallest. A CTA walks its rows in passes of as many as its
// accumulators hold. Per pass it walks K in chunks: four warps copy a chunk of each row (512 bytes) and of x into a
// ring in shared memory with the copy engines; eight warps wait for it and each takes 64 bytes of every row (32
// bf16 columns or 64 fp8) through mma.sync, W being the 16-row operand and rows of x the columns: 1 to 8 rows cost the
// same. At the end of a pass the eight partial sums are added in order.
//
//   W rows ─► ┌ stage 0 ┐┌ stage 1 ┐ … ─► warp 0: bytes 0–63 of each row    ─► acc ┐
//   x rows ─► └ x, rows ┘└─────────┘      warp 1: bytes 64–127               ─► acc ┼─► + in shared memory ─► epilogue
//                                         …                                        ┘
// The ring is filled with weights before griddepcontrol.wait, so a product's first rows arrive while the small kernels
// before it run; and while it ends, it has its successor's first rows brought into the second-level cache. Two
// products' CTAs must not share an SM: a ring of half the size, so that they could, made a decode step of 9 B weights
// 13 % slower (H100, one row: 7.00 ms against 6.19).
//
// Each lane takes 16 contiguous bytes of a row, and the same columns of x. That permutes the columns inside a 64-byte
// span against the mma's own order, equally for both operands, so the sum is the same one.

#include <algorithm>

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_skinny_common.cuh"
#include "kernels/cuda/matmul_skinny_tiles.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/tensor_map.h"

namespace glimpse::cuda {

namespace skinny {

// Of a row of x, which is bf16: the columns that meet a warp's 64 bytes of W. Those of all rows lie together, warp
// after warp, so that one copy of the tensor engine brings a chunk.
template <MatmulFormat kFormat>
constexpr int kXSpan = kFormat == MatmulFormat::kF8 ? 2 * kSpan : kSpan;  // bytes

struct Params : ProductParams {
  CUtensorMap x_map;
  const float* scales;  // kF8
  int64_t w_row_bytes;
  int32_t passes;      // per CTA
  int32_t pass_units;  // most units of a pass
  int32_t grain;       // a pass has a multiple of so many, but for a CTA's last
  int32_t chunks;      // of K
  int32_t last_bytes;  // of a W row, last chunk
  int32_t stages;
  int32_t stage_bytes;
};

// Floats between the sums of two rows of x: the rows of W in a pass, padded against bank conflicts.
__host__ __device__ constexpr int sums_pitch(int rows) {
  return (rows + 15) / 16 * 16 + 4;
}

struct Range {
  int first;
  int count;
};

// The units of this CTA, pass by pass: every pass has the same number of grains, or one more than the last ones.
struct Passes {
  int begin;
  int count;
  int grain;
  int each;   // grains
  int extra;  // passes with one more

  __device__ explicit Passes(const Params& p)
      : begin(first_unit(blockIdx.x, p.units)), count(first_unit(blockIdx.x + 1, p.units) - begin), grain(p.grain) {
    const int grains = (count + grain - 1) / grain;
    each = grains / p.passes;
    extra = grains - each * p.passes;
  }
  __device__ __forceinline__ Range operator[](int pass) const {
    const int first = (each * pass + min(pass, extra)) * grain;
    return {begin + first, min((each + (pass < extra ? 1 : 0)) * grain, count - first)};
  }
};

// One of the copying warps. Everything here is the same in all lanes, and one elected lane issues: the copy instruction
// takes its operands from uniform registers, and a loop over lanes costs 70 cycles a copy.
template <MatmulFormat kFormat, bool kGateUp>
struct Producer {
  const Params& p;
  const Passes& passes;
  uint32_t ring;
  uint32_t full;
  int warp;  // 0 .. kProducers - 1
  bool leader;
  uint64_t stream_policy;
  uint64_t keep_policy;

  struct Step {
    int pass = 0;
    int chunk = 0;
    Range range;
  };

  __device__ void advance(Step& step) const {
    if (++step.chunk < p.chunks) return;
    step.chunk = 0;
    step.range = passes[++step.pass];
  }

  __device__ void copy_rows(uint32_t destination, const uint8_t* source, int rows, uint32_t bytes,
                            uint32_t barrier) const {
    destination += warp * kRowPitch;
    source += warp * p.w_row_bytes;
    const int64_t step = kProducers * p.w_row_bytes;
#pragma unroll 4
    for (int i = warp; i < rows; i += kProducers) {
      if (leader) ptx::bulk_copy(destination, source, bytes, barrier, stream_policy);
      destination += kProducers * kRowPitch;
      source += step;
    }
  }

  __device__ void copy_weights(const Step& step, int stage) const {
    const bool last = step.chunk == p.chunks - 1;
    const uint32_t bytes = last ? p.last_bytes : kChunk;
    const uint32_t barrier = full + 8 * stage;
    if (warp == 0 && leader) {
      ptx::barrier_arrive_expect(barrier, (kGateUp ? 2 : 1) * step.range.count * bytes + x_bytes());
    }
    const uint32_t base = ring + stage * p.stage_bytes + x_bytes();
    const uint8_t* source =
        p.w + static_cast<int64_t>(step.chunk) * kChunk + static_cast<int64_t>(step.range.first) * p.w_row_bytes;
    copy_rows(base, source, step.range.count, bytes, barrier);
    if constexpr (kGateUp) {
      copy_rows(base + p.pass_units * kRowPitch, source + static_cast<int64_t>(p.units) * p.w_row_bytes,
                step.range.count, bytes, barrier);
    }
  }

  __device__ void copy_x(const Step& step, int stage) const {
    if (warp != kProducers - 1 || !leader) return;
    ptx::tensor_copy(ring + stage * p.stage_bytes, &p.x_map, 0, 0, step.chunk * kWarps, full + 8 * stage, keep_policy);
  }

  __device__ uint32_t x_bytes() const { return p.rows * kWarps * kXSpan<kFormat>; }

  __device__ void run(uint32_t empty) const {
    const int total = p.passes * p.chunks;
    const int fill = min(p.stages, total);
    Step step{.range = passes[0]};
    Step again = step;
    for (int i = 0; i < fill; ++i, advance(step)) copy_weights(step, i);
    ptx::prefetch_map(&p.x_map);
    ptx::wait_for_previous();
    for (int i = 0; i < fill; ++i, advance(again)) copy_x(again, i);
    int stage = 0;
    uint32_t parity = 0;
    for (int i = fill; i < total; ++i, advance(step)) {
      ptx::barrier_wait(empty + 8 * stage, parity);
      copy_weights(step, stage);
      copy_x(step, stage);
      if (++stage == p.stages) {
        stage = 0;
        parity ^= 1;
      }
    }
    if (leader && p.next.data != nullptr) prefetch_next(p.next, warp, kProducers);
  }
};

template <MatmulFormat kFormat, int kTiles, int kCols, bool kGateUp>
struct Consumer {
  const Params& p;
  const Passes& passes;
  uint32_t ring;
  uint32_t full;
  uint32_t empty;
  float* sums;  // [kWarps][rows of x][pitch]
  int warp;
  int lane;

  // What the epilogue does to a row of W, loaded long before: these words are in no cache.
  struct Row {
    float scale = 1;
    float bias = 0;
  };

  __device__ __forceinline__ Row load_row(int row) const {
    Row result;
    if constexpr (kFormat == MatmulFormat::kF8) result.scale = p.scales[row];
    if (p.bias != nullptr) result.bias = p.bias[row];
    return result;
  }

  __device__ void run() const {
    const int group = lane / 4;
    uint32_t x_row[kCols];
    const uint32_t up = p.pass_units * kRowPitch;
    const uint32_t at = group * kRowPitch;
    const uint32_t end = (p.pass_units - 1) * kRowPitch;
    const LaneRows row = {
        .first = {at, at + (kGateUp ? up : 8 * kRowPitch)},
        .last = {end, end + (kGateUp ? up : 0)},
        .step = (kGateUp ? 8 : 16) * kRowPitch,
    };
#pragma unroll
    for (int c = 0; c < kCols; ++c) {
      x_row[c] = (warp * p.rows + min(c * 8 + group, p.rows - 1)) * kXSpan<kFormat> + lane % 4 * (kXSpan<kFormat> / 4);
    }
    const int last_spans = p.last_bytes / kSpan;
    const uint32_t w_at = p.rows * kWarps * kXSpan<kFormat>;
    int stage = 0;
    uint32_t parity = 0;
    int count = -1;  // not known yet
    for (int pass = 0; pass < p.passes; ++pass) {
      const Range range = passes[pass];
      Row rows[kGateUp ? 2 : 1];
      if (slot() < range.count) {
        rows[0] = load_row(range.first + slot());
        if constexpr (kGateUp) rows[1] = load_row(range.first + slot() + p.units);
      }
      const int tiles = kGateUp ? (range.count + 7) / 8 : (range.count + 15) / 16;
      float acc[kTiles][kCols][4] = {};
      for (int chunk = 0; chunk < p.chunks; ++chunk) {
        ptx::barrier_wait(full + 8 * stage, parity);
        if (count < 0) count = used_rows(p);  // x is here, so the kernels before are done; used much later
        if (chunk < p.chunks - 1 || warp < last_spans) {
          const uint32_t x = ring + stage * p.stage_bytes;
          if constexpr (kFormat == MatmulFormat::kF8) {
            multiply_f8<kTiles, kCols>(acc, tiles, x + w_at, x, row, x_row, warp, lane);
          } else {
            multiply_bf16<kTiles, kCols>(acc, tiles, x + w_at, x, row, x_row, warp, lane);
          }
        }
        ptx::barrier_arrive_warp(empty + 8 * stage, lane);
        if (++stage == p.stages) {
          stage = 0;
          parity ^= 1;
        }
      }
      add_up(acc, range, rows, count);
    }
  }

  __device__ __forceinline__ int thread() const { return warp * 32 + lane; }
  __device__ __forceinline__ int slot() const { return thread() % 64; }  // the unit of a pass that this thread finishes

  __device__ void add_up(const float (&acc)[kTiles][kCols][4], const Range& range, const Row (&rows)[kGateUp ? 2 : 1],
                         int count) const {
    const int columns = sums_pitch(p.pass_units * (kGateUp ? 2 : 1));
    float* mine = sums + warp * p.rows * columns;
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int c = 0; c < kCols; ++c) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int r = c * 8 + (lane % 4) * 2 + i % 2;
          if (r < p.rows && m * 16 + i / 2 * 8 < columns - 4)
            mine[r * columns + m * 16 + i / 2 * 8 + lane / 4] = acc[m][c][i];
        }
      }
    }
    ptx::named_barrier(1, kWarps * 32);
    if (slot() < range.count) {
      for (int r = thread() / 64; r < count; r += kWarps * 32 / 64) {
        finish(range.first + slot(), slot(), r, columns, rows);
      }
    }
    ptx::named_barrier(1, kWarps * 32);
  }

  __device__ float total(int row, int r, int columns) const {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) sum += sums[(w * p.rows + r) * columns + row];
    return sum;
  }

  __device__ void finish(int unit, int slot, int r, int columns, const Row (&rows)[kGateUp ? 2 : 1]) const {
    float value;
    if constexpr (kGateUp) {
      const int row = slot / 8 * 16 + slot % 8;
      const float gate = total(row, r, columns) * rows[0].scale + rows[0].bias;
      const float up = total(row + 8, r, columns) * rows[1].scale + rows[1].bias;
      value = gate / (1.0f + __expf(-gate)) * up;
    } else {
      value = total(slot, r, columns) * rows[0].scale + rows[0].bias;
    }
    const int64_t at = r * p.y_stride + unit;
    if (p.y_f32) {
      static_cast<float*>(p.y)[at] = value;
    } else {
      static_cast<__nv_bfloat16*>(p.y)[at] = __float2bfloat16_rn(value);
    }
  }
};

// Registers for two, so that small kernels find room beside one, except where 9 to 16 rows of x need the registers and
// the ring.
template <MatmulFormat kFormat, int kCols>
constexpr int kCtasPerSm = kCols == 2 && kFormat == MatmulFormat::kF8 ? 1 : 2;

template <MatmulFormat kFormat, int kTiles, int kCols, bool kGateUp>
__global__ void __launch_bounds__(kThreads, kCtasPerSm<kFormat, kCols>) kernel(const __grid_constant__ Params p) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ __align__(8) uint64_t barriers[32];
  const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);  // uniform, and the compiler knows
  const int lane = threadIdx.x % 32;
  const uint32_t ring = ptx::shared_address(shared);
  const uint32_t full = ptx::shared_address(barriers);
  const uint32_t empty = full + 16 * 8;
  ptx::launch_dependents();
  if (threadIdx.x == 0) {
    for (int i = 0; i < p.stages; ++i) {
      ptx::barrier_init(full + 8 * i, 1);
      ptx::barrier_init(empty + 8 * i, kWarps * ptx::kWarpArrivals);
    }
    ptx::barrier_init_fence();
  }
  __syncthreads();
  const Passes passes(p);
  if (warp >= kWarps) {
    Producer<kFormat, kGateUp>{
        p, passes, ring, full, warp - kWarps, ptx::elect_one(), ptx::policy_evict_first(), ptx::policy_evict_last()}
        .run(empty);
  } else {
    auto* sums = reinterpret_cast<float*>(shared + p.stages * p.stage_bytes);
    Consumer<kFormat, kTiles, kCols, kGateUp>{p, passes, ring, full, empty, sums, warp, lane}.run();
  }
#endif
}

// How a product is laid over the card.
struct Plan {
  int grid = 0;
  int tiles = 0;
  int shared = 0;
};

constexpr int kMaxTiles = 4;

// Fills what depends on shape and card.
template <MatmulFormat kFormat>
Plan make_plan(Params& p, bool gate_up, int num_sms) {
  constexpr int kMinStages = 3;
  constexpr int kMaxStages = 16;
  Plan plan;
  plan.grid = std::min(num_sms, (p.units + 7) / 8);
  const int most = (p.units + plan.grid - 1) / plan.grid;  // units of a CTA
  const int unit_rows = gate_up ? 2 : 1;
  // Whole tiles in a pass waste no products; but where x takes the ring, even passes leave it more stages.
  const int tile_units = 16 / unit_rows;
  p.grain = p.rows <= 8 && kFormat != MatmulFormat::kF8 ? tile_units : 1;
  const int grains = (most + p.grain - 1) / p.grain;
  const int room = kMaxTiles * tile_units;
  const auto size = [&](int passes) {
    p.passes = passes;
    p.pass_units = std::min(most, (grains + passes - 1) / passes * p.grain);
    p.stage_bytes = p.pass_units * unit_rows * kRowPitch + p.rows * kWarps * kXSpan<kFormat>;
    p.stage_bytes = (p.stage_bytes + 127) / 128 * 128;
    return kWarps * p.rows * sums_pitch(p.pass_units * unit_rows) * 4;
  };
  const int least = (most + room - 1) / room;
  const int sums = size(least);
  const int budget = std::clamp(sums + kMinStages * p.stage_bytes, kRing, kWhole);
  p.stages = std::min((budget - sums) / p.stage_bytes, kMaxStages);
  plan.shared = p.stages * p.stage_bytes + sums;
  plan.tiles = (p.pass_units * unit_rows + 15) / 16;
  return plan;
}

template <MatmulFormat kFormat, int kTiles, int kCols, bool kGateUp>
cudaError_t launch(const Params& p, const Plan& plan, cudaStream_t stream) {
  return ProductLaunch(plan.grid, kThreads, plan.shared, 1, stream).run(kernel<kFormat, kTiles, kCols, kGateUp>, p);
}

template <MatmulFormat kFormat>
cudaError_t launch_any(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                       cudaStream_t stream) {
  const int element = kFormat == MatmulFormat::kF8 ? 1 : 2;
  Params p = {product_params(weight, operands)};
  constexpr uint32_t kColumns = kXSpan<kFormat> / 2;
  p.x_map = tensor_map<3>(operands.x,
                          {kColumns, static_cast<uint64_t>(operands.rows), static_cast<uint64_t>(weight.k) / kColumns},
                          {static_cast<uint64_t>(operands.x_stride) * 2, kXSpan<kFormat>},
                          {kColumns, static_cast<uint32_t>(operands.rows), kWarps}, CU_TENSOR_MAP_SWIZZLE_NONE);
  p.scales = weight.scales;
  const int columns = kChunk / element;  // per chunk
  p.chunks = (weight.k + columns - 1) / columns;
  const int last = weight.k - (p.chunks - 1) * columns;
  p.w_row_bytes = static_cast<int64_t>(weight.k) * element;
  p.last_bytes = last * element;
  const Plan plan = make_plan<kFormat>(p, weight.gate_up, device.num_sms);
  const auto with_tiles = [&]<int kCols, bool kGateUp>() {
    return plan.tiles <= 2   ? launch<kFormat, 2, kCols, kGateUp>(p, plan, stream)
           : plan.tiles == 3 ? launch<kFormat, 3, kCols, kGateUp>(p, plan, stream)
                             : launch<kFormat, 4, kCols, kGateUp>(p, plan, stream);
  };
  if (operands.rows <= 8) {
    return weight.gate_up ? with_tiles.template operator()<1, true>() : with_tiles.template operator()<1, false>();
  }
  return weight.gate_up ? with_tiles.template operator()<2, true>() : with_tiles.template operator()<2, false>();
}

}  // namespace skinny

}  // namespace glimpse::cuda
