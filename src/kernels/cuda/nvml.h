#pragma once

namespace glimpse::cuda {

// The share of the driver's last sampling period (up to a second) in which the CUDA device ran a kernel, from NVML;
// negative where the library or the figure is missing. From any thread.
double nvml_load(int device);

}  // namespace glimpse::cuda
