#include "kernels/cuda/nvml.h"

#include <cuda_runtime.h>
#include <dlfcn.h>

#include <array>

namespace glimpse::cuda {

namespace {

// What is used of nvml.h, which toolkits may lack; the driver brings the library.
struct Utilization {
  unsigned gpu = 0;  // percent
  unsigned memory = 0;
};
using Handle = void*;
constexpr int kSuccess = 0;

struct Nvml {
  int (*handle_of)(const char* pci_bus_id, Handle* handle) = nullptr;
  int (*utilization)(Handle handle, Utilization* out) = nullptr;

  // Loaded once and kept; both null where something is missing.
  Nvml() {
    void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return;
    const auto init = reinterpret_cast<int (*)()>(dlsym(library, "nvmlInit_v2"));
    const auto find = reinterpret_cast<decltype(handle_of)>(dlsym(library, "nvmlDeviceGetHandleByPciBusId_v2"));
    const auto read = reinterpret_cast<decltype(utilization)>(dlsym(library, "nvmlDeviceGetUtilizationRates"));
    if (init == nullptr || find == nullptr || read == nullptr || init() != kSuccess) return;
    handle_of = find;
    utilization = read;
  }
};

}  // namespace

double nvml_load(int device) {
  static const Nvml nvml;
  std::array<char, 32> bus_id{};
  Handle handle = nullptr;
  Utilization utilization;
  if (nvml.handle_of == nullptr ||
      cudaDeviceGetPCIBusId(bus_id.data(), static_cast<int>(bus_id.size()), device) != cudaSuccess ||
      nvml.handle_of(bus_id.data(), &handle) != kSuccess || nvml.utilization(handle, &utilization) != kSuccess) {
    return -1;
  }
  return utilization.gpu / 100.0;
}

}  // namespace glimpse::cuda
