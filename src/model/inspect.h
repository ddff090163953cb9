#pragma once

// What a checkpoint is, and whether it will load: `glimpse inspect DIR`. Reads the small files and the headers of the
// shards, no weights.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/config.h"
#include "model/generation_config.h"
#include "model/tensors.h"
#include "weights/file_set.h"

namespace glimpse {

struct ModelPart {
  std::string name;  // "embedding", "text layers", "lm_head", "vision tower", "merger"
  int64_t parameters = 0;
};

struct SpecialToken {
  std::string content;
  int64_t id = 0;
};

// How many tokens a picture can take: preprocessor_config.json's size, which counts pixels of two frames.
struct ImageTokenLimits {
  int64_t min_tokens = 0;
  int64_t max_tokens = 0;
};

struct InspectReport {
  std::string directory;
  std::optional<ModelConfig> config;  // none: see problems
  std::optional<GenerationConfig> generation;
  std::vector<int64_t> eos_token_id;  // resolved
  std::vector<ModelPart> parts;       // as the config says
  int64_t parameters = 0;
  int64_t kv_bytes_per_token = 0;  // with 16-bit keys and values
  std::optional<ImageTokenLimits> image_tokens;

  bool has_weights = false;
  std::vector<std::string> weight_files;
  int64_t num_tensors = 0;
  std::map<std::string, int64_t> bytes_by_dtype;  // of the stored tensors
  std::string quantization;                       // how the layers are stored; empty: as floats
  TensorAccount account;

  bool has_tokenizer = false;
  std::string chat_template;                 // the file it is in; empty: none
  std::vector<SpecialToken> special_tokens;  // sorted by id

  std::vector<std::string> problems;  // why it will not load, one line each
  std::vector<std::string> notes;     // what else one should know

  bool will_load() const { return problems.empty(); }
};

// Never fails: what cannot be read is among the problems. Without weights a sound config still "loads" with
// --load-format dummy, and a note says so.
InspectReport inspect_model(const FileSet& files);

// For people: a few dozen lines, ending in the verdict and every missing, wrong and unexpected tensor.
std::string inspect_text(const InspectReport& report);
// The same as one object, for --json.
json::object inspect_json(const InspectReport& report);

}  // namespace glimpse
