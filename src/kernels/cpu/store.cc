#include "kernels/cpu/store.h"

#include <cstring>

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/row_kernels.h"

namespace glimpse::cpu {

void store_columns(const float* x, int64_t count, const Activation& y, int64_t r, int64_t c0, CpuIsa isa) {
  switch (y.values.dtype) {
    case DType::kF32:
      std::memcpy(y.values.row<float>(r) + c0, x, static_cast<size_t>(count) * sizeof(float));
      return;
    case DType::kBF16:
      row_kernels(isa).narrow(x, count, y.values.row<bf16>(r) + c0);
      return;
    case DType::kI8: {
      const int64_t first_group = r * y.num_groups() + c0 / y.group;
      DCHECK(c0 % y.group == 0 && y.sums != nullptr, c0, y.group);
      quantize_row(x, count, y.group, y.values.row<int8_t>(r) + c0, y.scales + first_group, y.sums + first_group, isa);
      return;
    }
    default:
      CHECK(false, dtype_name(y.values.dtype));
  }
}

Matrix rows_from(const Matrix& m, int64_t r) {
  Matrix part = m;
  part.data = static_cast<std::byte*>(m.data) + r * m.stride * static_cast<int64_t>(dtype_bytes(m.dtype));
  part.rows -= r;
  return part;
}

Activation rows_from(const Activation& a, int64_t r) {
  Activation part = a;
  part.values = rows_from(a.values, r);
  if (a.scales != nullptr) part.scales += r * a.num_groups();
  if (a.sums != nullptr) part.sums += r * a.num_groups();
  return part;
}

}  // namespace glimpse::cpu
