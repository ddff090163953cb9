#pragma once

// Which instruction sets this processor and its operating system offer.

#include "kernels/backend.h"

namespace glimpse::cpu {

// The best one as a CpuIsa, or -1 below AVX2. The first call asks Linux for the AMX tile registers on behalf of the
// process, which has to happen before a thread touches them; where it refuses, the best is kAvx512Bf16.
int detect_isa();
const char* isa_name(CpuIsa isa);

}  // namespace glimpse::cpu
