#pragma once

// Products with packed weights. The packed layouts, the quantisation and the micro-kernels are in the .cc files.

#include <memory>
#include <span>

#include "kernels/cpu/context.h"
#include "kernels/ops.h"

namespace glimpse::cpu {

// Packs `spec` (see Backend::pack), rows read and quantised in parallel on the pool. Errors: kResource.
Result<std::unique_ptr<PackedLinear>> pack_linear(const LinearSpec& spec, const RowReader& read, Context& context);
// A layer over bytes of an earlier pack_linear, borrowed. Errors: kInvalidData.
Result<std::unique_ptr<PackedLinear>> adopt_linear(const LinearSpec& spec, std::span<const std::byte> bytes);
// Part of Backend::layout_id: changes whenever the meaning of packed bytes does.
const char* linear_layout();

// The ops (kernels/ops.h).
void linear(const LinearArgs& args, Context& context);
void gate_up_silu(const GateUpSiluArgs& args, Context& context);
size_t linear_workspace(const LinearArgs& args);
size_t gate_up_silu_workspace(const GateUpSiluArgs& args);

// The product alone, for ops that do more with it: y[r, :] = W x[r, :] + b for r < rows; y f32 or bf16. `scratch` has
// project_workspace bytes, 64-byte aligned.
void project(const PackedLinear& weight, const Activation& x, int64_t rows, const Matrix& y, Context& context,
             std::byte* scratch);
size_t project_workspace(const PackedLinear& weight, int64_t rows);

// Quantises one row to int8 with one scale per `group` columns: scale = max|x| / 127, values rounded to nearest even.
// Writes cols values, and ceil(cols / group) scales and sums of the int8 values. The ISA decides speed, not the result.
void quantize_row(const float* x, int64_t cols, int32_t group, int8_t* values, float* scales, int32_t* sums,
                  CpuIsa isa);
// Writes a float32 row to row `r` of an activation in the format it asks for.
void store_row(const float* x, const Activation& y, int64_t r, CpuIsa isa);

}  // namespace glimpse::cpu
