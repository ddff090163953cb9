#pragma once

#include <cstdint>
#include <functional>

// One oneDNN product y[m, n] = x[m, k] W on its packed weights, ready to run: bf16, or u8 by s8 to f32. Runs on
// OpenMP's threads.
std::function<void()> onednn_product(int64_t m, int64_t n, int64_t k, bool int8);
