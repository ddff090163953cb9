#include "weights/hub.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <system_error>
#include <vector>

#include "base/mmap.h"
#include "base/quote.h"

namespace glimpse {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kAdvice = "give --model the directory that holds its config.json and safetensors files";

std::string variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): read at start, before any thread
  return value == nullptr ? "" : value;
}

bool directory_exists(const fs::path& path) {
  std::error_code code;
  return fs::is_directory(path, code);
}

bool is_plain(std::string_view part) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  return !part.empty() && part.front() != '.' && part.size() <= 96 && std::all_of(part.begin(), part.end(), allowed);
}

// The "models--org--name" of a hub id, if it is one.
std::optional<std::string> cache_folder(std::string_view id) {
  const size_t slash = id.find('/');
  if (slash == id.npos) return std::nullopt;
  const std::string_view org = id.substr(0, slash);
  const std::string_view name = id.substr(slash + 1);
  if (!is_plain(org) || !is_plain(name)) return std::nullopt;
  return "models--" + std::string(org) + "--" + std::string(name);
}

std::optional<fs::path> find_snapshot(const fs::path& repository) {
  const fs::path snapshots = repository / "snapshots";
  if (auto commit = read_file((repository / "refs" / "main").string(), 256)) {
    while (!commit->empty() && (commit->back() == '\n' || commit->back() == ' ')) commit->pop_back();
    if (is_plain(*commit) && directory_exists(snapshots / *commit)) return snapshots / *commit;
  }
  std::vector<fs::path> found;
  std::error_code code;
  for (fs::directory_iterator entry(snapshots, code), end; !code && entry != end; entry.increment(code)) {
    if (directory_exists(entry->path())) found.push_back(entry->path());
  }
  if (found.size() == 1) return found.front();
  return std::nullopt;
}

}  // namespace

std::string hub_cache_from_environment() {
  if (std::string cache = variable("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const std::string home = variable("HF_HOME"); !home.empty()) return home + "/hub";
  std::string cache = variable("XDG_CACHE_HOME");
  if (cache.empty()) {
    const std::string home = variable("HOME");
    if (home.empty()) return "";
    cache = home + "/.cache";
  }
  return cache + "/huggingface/hub";
}

Result<std::string> resolve_model(const std::string& model, const std::string& hub_cache) {
  if (directory_exists(model)) return model;
  std::error_code code;
  if (fs::exists(model, code)) {
    return Error{ErrorCode::kInvalidArgument, model + ": is a file; " + std::string(kAdvice)};
  }
  const std::optional<std::string> folder = cache_folder(model);
  if (!folder) {
    return Error{ErrorCode::kNotFound, "model " + in_quotes(model) + ": no such directory; " + std::string(kAdvice)};
  }
  if (!hub_cache.empty()) {
    if (const auto snapshot = find_snapshot(fs::path(hub_cache) / *folder)) return snapshot->string();
  }
  return Error{ErrorCode::kNotFound, "model " + in_quotes(model) + ": no such directory, and no snapshot of it in " +
                                         (hub_cache.empty() ? "a local hub cache" : hub_cache) + "; " +
                                         std::string(kAdvice)};
}

}  // namespace glimpse
