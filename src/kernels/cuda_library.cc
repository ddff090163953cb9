#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/library.h"

namespace glimpse {

namespace {

namespace fs = std::filesystem;
constexpr const char* kName = "libglimpse_cuda.so";

// Where the library may lie, in order. Without a directory the dynamic linker searches.
std::vector<std::string> candidates() {
  if (const char* named = std::getenv("GLIMPSE_CUDA_LIBRARY"); named != nullptr && *named != '\0') return {named};
  std::vector<std::string> all;
  std::error_code error;
  const fs::path executable = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    for (const char* folder : {"", "lib", "../lib", "../lib/glimpse", "../../lib", "../../../lib"}) {
      const fs::path path = executable.parent_path() / folder / kName;
      if (fs::exists(path, error)) all.push_back(path.lexically_normal());
    }
  }
  all.emplace_back(kName);
  return all;
}

// Opened once and never closed: its code has to outlive every object it made.
Result<const CudaLibrary*> open_library() {
  std::string failure;
  for (const std::string& path : candidates()) {
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      if (failure.empty()) failure = dlerror();
      continue;
    }
    const auto entry = reinterpret_cast<CudaLibraryFunction>(dlsym(handle, kCudaLibrarySymbol));
    if (entry == nullptr) return Error{ErrorCode::kUnsupported, path + ": is not Glimpse's CUDA back end"};
    const CudaLibrary* library = entry();
    if (library->abi != kCudaAbi) {
      return Error{ErrorCode::kUnsupported, path + ": was built for another version (ABI " +
                                                std::to_string(library->abi) + ", not " + std::to_string(kCudaAbi) +
                                                ")"};
    }
    return library;
  }
  return Error{ErrorCode::kUnsupported, "no CUDA back end: " + failure};
}

}  // namespace

Result<std::unique_ptr<Backend>> make_cuda_backend(const CudaOptions& options) {
  ASSIGN_OR_RETURN(const CudaLibrary* library, open_library());
  if (library->count_devices() == 0) return Error{ErrorCode::kUnsupported, "no CUDA device, or no driver for it"};
  Result<std::unique_ptr<Backend>> backend = std::unique_ptr<Backend>();
  library->make(options, &backend);
  return backend;
}

}  // namespace glimpse
