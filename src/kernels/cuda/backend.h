#pragma once

#include "kernels/backend.h"

namespace glimpse::cuda {

Result<std::unique_ptr<Backend>> make_backend(const CudaOptions& options);

}  // namespace glimpse::cuda
