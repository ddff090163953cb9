#pragma once

// A checkpoint as the model hub publishes it: model.safetensors, or model.safetensors.index.json and its shards.

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "weights/file_set.h"
#include "weights/safetensors.h"
#include "weights/source.h"

namespace glimpse {

// The tensors of all shards under their canonical names. Movable; the views into the mapped files live as long as it.
class Checkpoint final : public WeightSource {
 public:
  // Maps and validates every file; reads no weights. Errors: kNotFound when there are no weights or a shard is missing
  // (named); kInvalidData for a broken file, an index that names a tensor its shard lacks, or two tensors that are the
  // same once prefixes are normalised.
  static Result<Checkpoint> open(const FileSet& files);
  static Result<Checkpoint> open(const std::string& directory);

  // Whether open() would find something to read.
  static bool has_weights(const FileSet& files);

  const FileSet& files() const { return files_; }
  std::string label() const override { return files_.label(); }
  void drop_all() const override;

 private:
  struct Stored {
    std::string file;  // name in the set
    std::span<const std::byte> bytes;
  };
  Checkpoint(FileSet files, std::vector<TensorInfo> tensors, std::vector<Stored> stored)
      : WeightSource(std::move(tensors)), files_(std::move(files)), stored_(std::move(stored)) {}

  Status read(size_t index, int64_t first, std::span<float> out) const override;
  Status read(size_t index, int64_t first, std::span<bf16> out) const override;
  std::span<const std::byte> bytes(size_t index) const override { return stored_[index].bytes; }
  void drop(size_t index, int64_t first, int64_t count) const override;
  // Elements [first, first + count) as stored; kUnsupported when the dtype is not a float.
  Result<std::span<const std::byte>> float_bytes(size_t index, int64_t first, size_t count) const;

  FileSet files_;
  std::vector<Stored> stored_;  // beside tensors()
};

}  // namespace glimpse
