#include "bundle/model_source.h"

#include <algorithm>
#include <filesystem>

#include "base/mmap.h"
#include "bundle/embedded_model.h"
#include "model/tensors.h"
#include "weights/checkpoint.h"
#include "weights/dummy.h"
#include "weights/hub.h"
#include "weights/quantized.h"

namespace glimpse {

namespace {

constexpr size_t kMaxConfigBytes = size_t{1} << 20;
constexpr size_t kMaxTokenizerBytes = size_t{256} << 20;

// A JSON object of a file; an empty object when there is no such file.
Result<json::object> read_object(const FileSet& files, const std::string& name) {
  if (!files.contains(name)) return json::object{};
  ASSIGN_OR_RETURN(const std::string text, files.text(name, kMaxConfigBytes));
  auto value = parse_json(text);
  if (!value) return std::move(value).error().in(files.path(name));
  if (!value->is_object()) return Error{ErrorCode::kInvalidData, files.path(name) + ": must be a JSON object"};
  return std::move(value->get_object());
}

Result<Tokenizer> read_tokenizer(const FileSet& files) {
  ASSIGN_OR_RETURN(const auto bytes, files.bytes("tokenizer.json"));
  if (bytes.size() > kMaxTokenizerBytes) {
    return Error{ErrorCode::kTooLarge, files.path("tokenizer.json") + ": larger than 256 MiB"};
  }
  auto tokenizer = Tokenizer::parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!tokenizer) return std::move(tokenizer).error().in(files.path("tokenizer.json"));
  return tokenizer;
}

Result<ChatTemplate> read_chat_template(const FileSet& files) {
  ASSIGN_OR_RETURN(const json::object tokenizer_config, read_object(files, "tokenizer_config.json"));
  if (!files.contains("chat_template.jinja")) {
    auto loaded = ChatTemplate::load(std::nullopt, &tokenizer_config);
    if (!loaded) return std::move(loaded).error().in(files.path("tokenizer_config.json"));
    return loaded;
  }
  ASSIGN_OR_RETURN(const std::string text, files.text("chat_template.jinja", kMaxConfigBytes));
  auto loaded = ChatTemplate::load(text, &tokenizer_config);
  if (!loaded) return std::move(loaded).error().in(files.path("chat_template.jinja"));
  return loaded;
}

// What tells one state of a checkpoint's files from another: names, sizes and times of change.
std::string files_key(const FileSet& files, const std::string& directory) {
  std::string key;
  for (const std::string& name : files.list(".safetensors")) {
    std::error_code failed;
    const std::filesystem::path path = std::filesystem::path(directory) / name;
    const auto size = std::filesystem::file_size(path, failed);
    if (failed) return {};
    const auto time = std::filesystem::last_write_time(path, failed);
    if (failed) return {};
    key += name + ":" + std::to_string(size) + ":" + std::to_string(time.time_since_epoch().count()) + ";";
  }
  return key.empty() ? key : std::filesystem::weakly_canonical(directory).string() + ";" + key;
}

}  // namespace

void ModelSource::to_model_ids(std::vector<int32_t>& ids) const {
  if (borrowed_ids.empty()) return;
  for (int32_t& id : ids) {
    for (const auto& [from, to] : borrowed_ids) {
      if (id == from) {
        id = to;
        break;
      }
    }
  }
}

std::optional<int32_t> ModelSource::to_tokenizer_id(int32_t id) const {
  for (const auto& [from, to] : borrowed_ids) {
    if (id == to) return from;
  }
  if (id < 0 || id >= tokenizer.vocab_size()) return std::nullopt;
  return id;
}

Result<ModelSource> open_model(const std::string& model, LoadFormat format, TokenizerUse tokenizer_use) {
  const FileSet mini = embedded_model();
  std::string directory;
  if (!model.empty()) {
    ASSIGN_OR_RETURN(directory, resolve_model(model, hub_cache_from_environment()));
  }
  FileSet files = mini;
  if (!directory.empty()) {
    ASSIGN_OR_RETURN(files, FileSet::open(directory));
  }
  if (!files.contains("config.json")) {
    return Error{ErrorCode::kNotFound, files.path("config.json") +
                                           ": no such file; --model takes a directory as the "
                                           "model hub publishes it"};
  }
  ASSIGN_OR_RETURN(const std::string config_text, files.text("config.json", kMaxConfigBytes));
  ASSIGN_OR_RETURN(ModelConfig config, parse_model_config(config_text, files.path("config.json")));

  GenerationConfig generation;
  if (files.contains("generation_config.json")) {
    ASSIGN_OR_RETURN(const std::string text, files.text("generation_config.json", kMaxConfigBytes));
    ASSIGN_OR_RETURN(generation, parse_generation_config(text, files.path("generation_config.json")));
  }
  auto eos = resolve_eos(config, generation);
  if (!eos) return std::move(eos).error().in(files.label());

  ASSIGN_OR_RETURN(const json::object processor, read_object(files, "preprocessor_config.json"));
  auto image = parse_image_options(processor);
  if (!image) return std::move(image).error().in(files.path("preprocessor_config.json"));
  if (image->patch_size != config.vision.patch_size || image->merge_size != config.vision.spatial_merge_size) {
    return Error{ErrorCode::kInvalidData, files.path("preprocessor_config.json") + ": patch_size " +
                                              std::to_string(image->patch_size) + " and merge_size " +
                                              std::to_string(image->merge_size) + " are not those of config.json (" +
                                              std::to_string(config.vision.patch_size) + ", " +
                                              std::to_string(config.vision.spatial_merge_size) + ")"};
  }

  const bool borrow =
      (format == LoadFormat::kDummy || tokenizer_use == TokenizerUse::kOptional) && !files.contains("tokenizer.json");
  const FileSet& text_files = borrow ? mini : files;
  ASSIGN_OR_RETURN(Tokenizer tokenizer, read_tokenizer(text_files));
  ASSIGN_OR_RETURN(ChatTemplate chat_template, read_chat_template(text_files));

  std::shared_ptr<const WeightSource> weights;
  if (format == LoadFormat::kDummy) {
    weights = std::make_shared<DummySource>(expected_tensors(config), 0);
  } else {
    ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::open(files));
    weights = std::make_shared<Checkpoint>(std::move(checkpoint));
    if (config.quantization) {
      ASSIGN_OR_RETURN(weights, QuantizedSource::create(std::move(weights), *config.quantization));
    }
  }
  RETURN_IF_ERROR(require_complete(account_tensors(config, *weights), files.label()));

  ModelSource source{.label = files.label(),
                     .config = std::move(config),
                     .generation = std::move(generation),
                     .image = *image,
                     .tokenizer = std::move(tokenizer),
                     .chat_template = std::move(chat_template),
                     .eos_token_ids = std::vector<int32_t>(eos->begin(), eos->end()),
                     .weights = std::move(weights)};
  if (format == LoadFormat::kAuto && !directory.empty()) source.cache_key = files_key(files, directory);
  if (borrow) {
    const auto map = [&](std::string_view token, int64_t id) {
      if (const auto from = source.tokenizer.find_token(token)) {
        source.borrowed_ids.emplace_back(*from, static_cast<int32_t>(id));
      }
    };
    map("<|image|>", source.config.image_token_id);
    map("<|begin_of_image|>", source.config.image_start_token_id);
    map("<|end_of_image|>", source.config.image_end_token_id);
  }
  return source;
}

}  // namespace glimpse
