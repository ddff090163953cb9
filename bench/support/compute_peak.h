#pragma once

// What products can reach on this machine right now: loops that stay in registers, with the instructions that the
// kernels of the best instruction set use.

namespace glimpse {

struct ComputePeak {
  double bf16 = 0;  // FLOP/s, a multiply-add counts 2; with AVX2 that of float32, into which bfloat16 is widened
  double int8 = 0;  // operations/s, likewise
};

// busy: the calling thread alone, by its processor time, for a machine that others use too.
ComputePeak measure_compute_peak(int threads, bool busy = false);
// Of vector registers, and of tile registers: zeros where there are none. The above is the larger of both.
ComputePeak measure_vector_peak(int threads, bool busy = false);
ComputePeak measure_tile_peak(int threads, bool busy = false);

}  // namespace glimpse
