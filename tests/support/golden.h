#pragma once

// Goldens as python/reference/make_goldens.py writes them: NAME.json and NAME.safetensors.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mmap.h"
#include "weights/safetensors.h"

namespace glimpse {

// A file of tensors, read by name as vectors; a missing tensor or another dtype fails the test.
class GoldenFile {
 public:
  explicit GoldenFile(const std::string& path) : path_(path) {
    auto file = MappedFile::open(path);
    if (!file) {
      ADD_FAILURE() << file.error().message;
      return;
    }
    file_ = *std::move(file);
    auto tensors = parse_safetensors(file_.bytes(), path);
    if (!tensors) {
      ADD_FAILURE() << tensors.error().message;
      return;
    }
    tensors_ = *std::move(tensors);
  }

  const TensorView* find(const std::string& name) const {
    for (const TensorView& tensor : tensors_) {
      if (tensor.name == name) return &tensor;
    }
    return nullptr;
  }

  template <typename T>
  std::vector<T> get(const std::string& name) const {
    const TensorView* tensor = find(name);
    if (tensor == nullptr || tensor->dtype != (std::is_same_v<T, float> ? DType::kF32 : DType::kI32)) {
      ADD_FAILURE() << path_ << ": no tensor " << name << " of this type";
      return {};
    }
    std::vector<T> values(tensor->bytes.size() / sizeof(T));
    std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
    return values;
  }

 private:
  std::string path_;
  MappedFile file_;
  std::vector<TensorView> tensors_;
};

// |a - b|_2 / |b|_2
inline double relative_error(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return std::sqrt(difference / norm);
}

}  // namespace glimpse
