#include "cli/logits_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/json.h"

namespace glimpse {

Status write_logits(const std::string& path, std::span<const float> logits, int64_t vocab) {
  const auto rows = static_cast<int64_t>(logits.size()) / vocab;
  std::string header =
      json::serialize(json::object{{"logits",
                                    {{"dtype", "F32"},
                                     {"shape", json::array{rows, vocab}},
                                     {"data_offsets", json::array{0, static_cast<int64_t>(logits.size_bytes())}}}}});
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const auto size = static_cast<uint64_t>(header.size());
  std::FILE* file = std::fopen(path.c_str(), "wb");
  bool good = file != nullptr && std::fwrite(&size, sizeof size, 1, file) == 1 &&
              std::fwrite(header.data(), 1, header.size(), file) == header.size() &&
              std::fwrite(logits.data(), sizeof(float), logits.size(), file) == logits.size();
  if (file != nullptr) good = (std::fclose(file) == 0) && good;
  if (!good) return Error{ErrorCode::kResource, path + ": cannot write: " + std::strerror(errno)};
  return {};
}

}  // namespace glimpse
