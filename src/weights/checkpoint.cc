#include "weights/checkpoint.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "base/quote.h"
#include "weights/convert.h"
#include "weights/names.h"

namespace glimpse {

namespace {

constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr size_t kMaxIndexBytes = 64 << 20;  // the largest published one, of 18,106 tensors, has 2 MB

// By shard, the tensors that the index says are in it.
using WeightMap = std::map<std::string, std::vector<std::string>>;

Error invalid(std::string message) {
  return {ErrorCode::kInvalidData, std::move(message)};
}

Result<WeightMap> parse_index(std::string_view text) {
  ASSIGN_OR_RETURN(const json::value document, parse_json(text));
  if (!document.is_object()) return invalid("the index must be an object");
  const json::value* map = find(document.get_object(), "weight_map");
  if (map == nullptr || !map->is_object()) return invalid("field \"weight_map\" must be an object");
  WeightMap shards;
  for (const auto& [name, file] : map->get_object()) {
    if (!file.is_string()) return invalid("weight_map: tensor " + in_quotes(name) + " must name a file");
    const std::string_view file_name = file.get_string();
    if (file_name.find_first_of("/\\") != file_name.npos || file_name.starts_with('.')) {
      return invalid("weight_map: tensor " + in_quotes(name) + " names " + in_quotes(file_name) +
                     ", which is not a plain file name");
    }
    shards[std::string(file_name)].emplace_back(name);
  }
  if (shards.empty()) return invalid("field \"weight_map\" is empty");
  return shards;
}

// The shard must hold what the index says. What it holds beside that is loaded as well, and the model's account of its
// tensors finds out whether it is wanted.
Status check_shard(const std::vector<TensorView>& tensors, const std::vector<std::string>& listed) {
  std::vector<std::string_view> held;
  held.reserve(tensors.size());
  for (const TensorView& tensor : tensors) held.push_back(tensor.name);
  std::sort(held.begin(), held.end());
  for (const std::string& name : listed) {
    if (!std::binary_search(held.begin(), held.end(), name)) {
      return invalid("tensor " + in_quotes(name) + " is not in the file, though " + std::string(kIndex) + " says so");
    }
  }
  return {};
}

Result<WeightMap> list_shards(const FileSet& files) {
  // Where both exist the single file wins, as it does in transformers.
  if (files.contains(kSingle)) return WeightMap{{std::string(kSingle), {}}};
  if (!files.contains(kIndex)) {
    return Error{ErrorCode::kNotFound,
                 files.label() + ": neither " + std::string(kSingle) + " nor " + std::string(kIndex) + " is there"};
  }
  ASSIGN_OR_RETURN(const std::string text, files.text(kIndex, kMaxIndexBytes));
  auto shards = parse_index(text);
  if (!shards) return std::move(shards).error().in(files.path(kIndex));
  for (const auto& [file, names] : *shards) {
    if (!files.contains(file)) {
      return Error{ErrorCode::kNotFound, files.path(file) + ": the shard is missing; " + std::string(kIndex) +
                                             " names it for " + std::to_string(names.size()) + " tensors"};
    }
  }
  return shards;
}

}  // namespace

bool Checkpoint::has_weights(const FileSet& files) {
  return files.contains(kSingle) || files.contains(kIndex);
}

Result<Checkpoint> Checkpoint::open(const std::string& directory) {
  ASSIGN_OR_RETURN(const FileSet files, FileSet::open(directory));
  return open(files);
}

Result<Checkpoint> Checkpoint::open(const FileSet& files) {
  ASSIGN_OR_RETURN(const WeightMap shards, list_shards(files));
  struct Entry {
    TensorInfo info;
    Stored stored;
  };
  std::vector<Entry> entries;
  for (const auto& [file, names] : shards) {
    const std::string path = files.path(file);
    ASSIGN_OR_RETURN(const auto bytes, files.bytes(file));
    ASSIGN_OR_RETURN(std::vector<TensorView> tensors, parse_safetensors(bytes, path));
    if (!names.empty()) {
      if (auto status = check_shard(tensors, names); !status) return std::move(status).error().in(path);
    }
    for (TensorView& tensor : tensors) {
      entries.push_back({{.name = canonical_tensor_name(tensor.name),
                          .dtype = tensor.dtype,
                          .shape = std::move(tensor.shape),
                          .file = path},
                         {.file = file, .bytes = tensor.bytes}});
    }
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.info.name < b.info.name; });
  std::vector<TensorInfo> infos;
  std::vector<Stored> stored;
  for (Entry& entry : entries) {
    if (!infos.empty() && infos.back().name == entry.info.name) {
      return invalid(entry.info.file + ": tensor " + in_quotes(entry.info.name) + " is there twice (first in " +
                     infos.back().file + ")");
    }
    infos.push_back(std::move(entry.info));
    stored.push_back(std::move(entry.stored));
  }
  return Checkpoint(files, std::move(infos), std::move(stored));
}

Result<std::span<const std::byte>> Checkpoint::float_bytes(size_t index, int64_t first, size_t count) const {
  const TensorInfo& info = tensors()[index];
  if (!is_float(info.dtype)) {
    return Error{ErrorCode::kUnsupported, info.file + ": tensor " + in_quotes(info.name) + " has dtype " +
                                              std::string(dtype_name(info.dtype)) + ", a float dtype is needed"};
  }
  const size_t size = dtype_bytes(info.dtype);
  return stored_[index].bytes.subspan(static_cast<size_t>(first) * size, count * size);
}

Status Checkpoint::read(size_t index, int64_t first, std::span<float> out) const {
  ASSIGN_OR_RETURN(const auto source, float_bytes(index, first, out.size()));
  convert(tensors()[index].dtype, source, out);
  return {};
}

Status Checkpoint::read(size_t index, int64_t first, std::span<bf16> out) const {
  ASSIGN_OR_RETURN(const auto source, float_bytes(index, first, out.size()));
  convert(tensors()[index].dtype, source, out);
  return {};
}

void Checkpoint::drop(size_t index, int64_t first, int64_t count) const {
  const size_t size = dtype_bytes(tensors()[index].dtype);
  files_.drop(stored_[index].file,
              stored_[index].bytes.subspan(static_cast<size_t>(first) * size, static_cast<size_t>(count) * size));
}

void Checkpoint::drop_all() const {
  std::set<std::string_view> files;
  for (const Stored& stored : stored_) {
    if (!files.insert(stored.file).second) continue;
    if (const auto whole = files_.bytes(stored.file)) files_.drop(stored.file, *whole);
  }
}

}  // namespace glimpse
