#include "weights/file_set.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <system_error>
#include <utility>

#include "base/mmap.h"
#include "base/quote.h"

namespace glimpse {

namespace fs = std::filesystem;

struct FileSet::State {
  std::string label;
  bool in_memory = false;
  std::map<std::string, std::span<const std::byte>, std::less<>> memory;
  std::mutex mutex;  // guards `mapped`, whose elements stay where they are
  std::map<std::string, MappedFile, std::less<>> mapped;
};

namespace {

Status check_name(std::string_view name) {
  if (name.empty() || name == "." || name == ".." || name.find_first_of(std::string_view("/\\\0", 3)) != name.npos) {
    return Error{ErrorCode::kInvalidData, in_quotes(name) + " is not a plain file name"};
  }
  return {};
}

}  // namespace

FileSet::FileSet(std::shared_ptr<State> state) : state_(std::move(state)) {}

Result<FileSet> FileSet::open(const std::string& directory) {
  std::error_code code;
  const fs::file_status status = fs::status(directory, code);
  if (status.type() == fs::file_type::not_found) {
    return Error{ErrorCode::kNotFound, directory + ": no such directory"};
  }
  if (code) return Error{ErrorCode::kInvalidData, directory + ": " + code.message()};
  if (status.type() != fs::file_type::directory) {
    return Error{ErrorCode::kInvalidData, directory + ": not a directory"};
  }
  auto state = std::make_shared<State>();
  state->label = directory;
  while (state->label.size() > 1 && state->label.back() == '/') state->label.pop_back();
  return FileSet(std::move(state));
}

FileSet FileSet::from_memory(std::string label, std::vector<MemoryFile> files) {
  auto state = std::make_shared<State>();
  state->label = std::move(label);
  state->in_memory = true;
  for (MemoryFile& file : files) state->memory.emplace(std::move(file.name), file.bytes);
  return FileSet(std::move(state));
}

std::string FileSet::path(std::string_view name) const {
  return state_->label + "/" + std::string(name);
}

const std::string& FileSet::label() const {
  return state_->label;
}

bool FileSet::contains(std::string_view name) const {
  if (!check_name(name)) return false;
  if (state_->in_memory) return state_->memory.contains(name);
  std::error_code code;
  return fs::exists(path(name), code);
}

std::vector<std::string> FileSet::list(std::string_view suffix) const {
  std::vector<std::string> names;
  const auto add = [&](std::string name) {
    if (name.ends_with(suffix)) names.push_back(std::move(name));
  };
  if (state_->in_memory) {
    for (const auto& [name, bytes] : state_->memory) add(name);
    return names;
  }
  std::error_code code;
  for (fs::directory_iterator entry(state_->label, code), end; !code && entry != end; entry.increment(code)) {
    add(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::span<const std::byte>> FileSet::bytes(std::string_view name) const {
  RETURN_IF_ERROR(check_name(name));
  if (state_->in_memory) {
    const auto found = state_->memory.find(name);
    if (found != state_->memory.end()) return found->second;
    return Error{ErrorCode::kNotFound, path(name) + ": no such file"};
  }
  const std::lock_guard lock(state_->mutex);
  auto found = state_->mapped.find(name);
  if (found == state_->mapped.end()) {
    ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path(name)));
    found = state_->mapped.emplace(name, std::move(file)).first;
  }
  return found->second.bytes();
}

Result<std::string> FileSet::text(std::string_view name, size_t max_bytes) const {
  RETURN_IF_ERROR(check_name(name));
  if (!state_->in_memory) return read_file(path(name), max_bytes);
  ASSIGN_OR_RETURN(const auto view, bytes(name));
  if (view.size() > max_bytes) {
    return Error{ErrorCode::kTooLarge, path(name) + ": larger than " + std::to_string(max_bytes) + " bytes"};
  }
  return std::string(reinterpret_cast<const char*>(view.data()), view.size());
}

void FileSet::drop(std::string_view name, std::span<const std::byte> range) const {
  if (state_->in_memory) return;
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->mapped.find(name);
  if (found != state_->mapped.end()) found->second.drop(range);
}

}  // namespace glimpse
