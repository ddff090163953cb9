#include "engine/runner.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace glimpse {

namespace {

std::string_view quantization_name(Quantization quantization) {
  switch (quantization) {
    case Quantization::kNone:
      return "none";
    case Quantization::kInt8:
      return "int8";
    case Quantization::kInt4:
      return "int4";
    case Quantization::kFp8:
      return "fp8";
  }
  return "?";
}

// Classes of decode batches: a batch runs as the smallest class that holds it.
std::vector<int32_t> decode_sizes(const StepLimits& limits) {
  const int32_t largest = std::min(limits.max_seqs, limits.max_tokens);
  std::vector<int32_t> sizes;
  for (int32_t size = 1; size < largest;) {
    sizes.push_back(size);
    size += size < 4 ? size : size < 8 ? 4 : size < 32 ? 8 : size < 128 ? 16 : 32;
  }
  sizes.push_back(largest);
  return sizes;
}

int64_t total_weights(const WeightSource& source, bool vision) {
  int64_t total = 0;
  for (const TensorInfo& tensor : source.tensors()) {
    // One-dimensional tensors and tables are not packed and not worth a tick of a progress bar.
    if (tensor.shape.size() < 2 || tensor.name.find("embed") != std::string::npos) continue;
    if ((tensor.name.rfind("model.visual.", 0) == 0) != vision) continue;
    int64_t count = 1;
    for (const int64_t extent : tensor.shape) count *= extent;
    total += count;
  }
  return total;
}

}  // namespace

Result<std::unique_ptr<Runner>> Runner::create(std::unique_ptr<Backend> backend, const ModelConfig& config,
                                               std::shared_ptr<const WeightSource> source,
                                               const RunnerOptions& options) {
  auto runner = std::unique_ptr<Runner>(new Runner());
  runner->backend_ = std::move(backend);
  runner->config_ = config;
  runner->source_ = std::move(source);
  runner->options_ = options;
  runner->stream_ = runner->backend_->make_stream();
  runner->vision_stream_ = runner->stream_.get();
  if (!runner->backend_->shares_host_memory()) {
    runner->background_stream_ = runner->backend_->make_background_stream();
    runner->vision_stream_ = runner->background_stream_.get();
  }
  RETURN_IF_ERROR(runner->load_text(*runner->backend_));
  return runner;
}

Status Runner::load_text(Backend& backend) {
  const TextConfig& text = config_.text;
  KvSpec kv{.num_layers = static_cast<int32_t>(text.num_hidden_layers),
            .num_kv_heads = static_cast<int32_t>(text.num_key_value_heads),
            .head_dim = static_cast<int32_t>(text.head_dim),
            .num_blocks = 1,
            .dtype = options_.dtype};
  // The block size is the back end's choice; a cache of one block tells it.
  ASSIGN_OR_RETURN(auto probe, backend.make_kv(kv));
  const int32_t block_size = probe->block_size;
  const int64_t token_bytes = probe->block_bytes / block_size;
  probe = nullptr;

  const StepLimits limits{.max_tokens = options_.max_num_batched_tokens,
                          .max_seqs = options_.max_num_seqs,
                          .max_blocks_per_seq = (options_.max_model_len + block_size - 1) / block_size};
  ASSIGN_OR_RETURN(inputs_, StepInputs::create(backend, limits));

  const auto cache = open_cache("text", options_.quantization);
  LoadOptions load{.dtype = options_.dtype,
                   .quantization = options_.quantization,
                   .quantize_head = options_.quantize_head,
                   .cache = cache.get()};
  int64_t done = 0;
  const int64_t total = total_weights(*source_, false);
  if (options_.progress) {
    load.progress = [&](int64_t weights) { options_.progress({"text weights", done += weights, total}); };
  }
  ASSIGN_OR_RETURN(TextWeights weights, load_text_weights(backend, text, source_, load));
  source_->drop_all();
  finish_cache(cache.get());

  // Image embeddings are addressed by row; pages of the pool come into being when they are written.
  const DType residual = backend.residual_dtype(weights.layers.front().qkv_proj->format);
  const int64_t image_rows = options_.num_image_rows == 0 ? options_.max_model_len : options_.num_image_rows;
  const auto image_bytes = static_cast<size_t>(image_rows * text.hidden_size) * dtype_bytes(residual);
  ASSIGN_OR_RETURN(image_memory_, backend.allocate(image_bytes, MemoryKind::kDevice));
  if (options_.num_image_rows != 0 && backend.shares_host_memory() && image_bytes <= kSmallPoolBytes) {
    std::memset(image_memory_.data(), 0, image_bytes);
  }
  images_ = {image_memory_.data(), residual, image_rows, text.hidden_size, text.hidden_size};
  ASSIGN_OR_RETURN(last_ids_,
                   backend.allocate(static_cast<size_t>(options_.max_num_seqs) * sizeof(int32_t), MemoryKind::kDevice));
  ASSIGN_OR_RETURN(const int64_t kv_tokens, plan_kv_tokens(token_bytes));
  kv.num_blocks = static_cast<int32_t>((kv_tokens + block_size - 1) / block_size);
  ASSIGN_OR_RETURN(kv_, backend.make_kv(kv));
  ASSIGN_OR_RETURN(decoder_, TextDecoder::create(backend, text, std::move(weights), inputs_, *kv_, images_,
                                                 last_ids_.as<int32_t>(), *stream_));
  if (!backend.shares_host_memory()) {
    const Matrix& logits = decoder_->logits();
    ASSIGN_OR_RETURN(host_logits_, backend.allocate(static_cast<size_t>(logits.rows * logits.stride) * sizeof(float),
                                                    MemoryKind::kPinnedHost));
  }
  // All that will run here: captured steps keep the address.
  size_t workspace = decoder_->workspace_bytes();
  if (const auto& ops = backend.ops(); ops.sample != nullptr) {
    workspace = std::max(
        workspace, ops.sample_workspace({.rows = {nullptr, options_.max_num_seqs}, .logits = decoder_->logits()}));
  }
  RETURN_IF_ERROR(stream_->reserve_workspace(workspace));
  return backend.captures_graphs() ? warm_up() : Status();
}

DeviceUsage Runner::device_usage() const {
  const Backend::DeviceMemory memory = backend_->device_memory();
  if (memory.total == 0) return {};
  return {.memory_used = static_cast<int64_t>(memory.total - memory.free),
          .memory_total = static_cast<int64_t>(memory.total),
          .load = backend_->device_load()};
}

Result<int64_t> Runner::plan_kv_tokens(int64_t bytes_per_token) {
  const int64_t wanted = options_.num_kv_tokens == 0 ? options_.max_model_len : options_.num_kv_tokens;
  const Backend::DeviceMemory memory = backend_->device_memory();
  if (memory.total == 0) return wanted;
  // What comes after this: activations, scratch and the vision tower with its largest picture, which has as many tokens
  // as a context at most.
  const TextConfig& text = config_.text;
  const VisionConfig& vision = config_.vision;
  const int64_t token_values =
      6 * text.hidden_size + 2 * text.q_size() + 5 * text.intermediate_size + 2 * text.rotary_dim();
  const int64_t activations = options_.max_num_batched_tokens * token_values * 2 +
                              3 * int64_t{options_.max_num_seqs} * text.vocab_size * 4 + (int64_t{256} << 20);
  const int64_t merge = vision.spatial_merge_size * vision.spatial_merge_size;
  const int64_t patches = std::min<int64_t>(options_.max_model_len, 6144) * merge * 5 / 4;
  const int64_t patch_values = 12 * vision.hidden_size + 3 * vision.out_hidden_size + 1024;
  // A picture that is cut there, and what lies between the passes of its resize.
  const int64_t cut = cuts_pictures() ? int64_t{128} << 20 : 0;
  const int64_t pictures = total_weights(*source_, true) * 2 + patches * patch_values * 2 + cut;
  const auto used = static_cast<int64_t>(memory.total - memory.free);
  const auto total = static_cast<int64_t>(memory.total);
  int64_t tokens = wanted;
  if (options_.gpu_memory_utilization > 0 && options_.num_kv_tokens == 0) {
    const auto allowed = static_cast<int64_t>(static_cast<double>(total) * options_.gpu_memory_utilization);
    const int64_t left = allowed - used - activations - pictures;
    tokens = std::max<int64_t>(left, 0) / bytes_per_token;
    if (tokens < options_.max_model_len) {
      return Error{ErrorCode::kResource, "the device's memory leaves room for " + std::to_string(tokens) +
                                             " tokens, and a context may have " +
                                             std::to_string(options_.max_model_len) +
                                             "; raise --gpu-memory-utilization or lower --max-model-len"};
    }
  }
  char line[256];
  const auto gb = [](int64_t bytes) { return static_cast<double>(bytes) / 1e9; };
  std::snprintf(line, sizeof line,
                "device memory %.1f GB: weights and images %.1f, KV %.1f (%lld tokens), activations %.1f, vision tower "
                "and pictures %.1f",
                gb(total), gb(used), gb(tokens * bytes_per_token), static_cast<long long>(tokens), gb(activations),
                gb(pictures));
  memory_plan_ = line;
  return tokens;
}

Status Runner::warm_up() {
  const StepLimits& limits = inputs_.limits();
  // All counts are zero: every row is padding.
  std::fill_n(inputs_.next().counts, 3, 0);
  inputs_.upload(*stream_);
  for (const int32_t tokens : backend_->row_classes(limits.max_tokens)) {
    if (tokens > limits.max_seqs) decoder_->forward({tokens, 1, 1}, *stream_);
  }
  stream_->synchronize();
  for (const int32_t size : decode_sizes(limits)) {
    const StepShape shape{size, size, size};
    decoder_->forward(shape, *stream_);
    stream_->synchronize();
    if (options_.enforce_eager) continue;
    stream_->begin_capture();
    decoder_->forward(shape, *stream_);
    ASSIGN_OR_RETURN(auto graph, stream_->end_capture());
    captured_.push_back({size, std::move(graph)});
  }
  stream_->synchronize();
  return {};
}

std::vector<int32_t> Runner::captured_sizes() const {
  std::vector<int32_t> sizes;
  for (const CapturedStep& step : captured_) sizes.push_back(step.size);
  return sizes;
}

Status Runner::load_vision() {
  const auto cache = open_cache("vision", options_.vision_quantization);
  LoadOptions load{.dtype = options_.dtype, .quantization = options_.vision_quantization, .cache = cache.get()};
  int64_t done = 0;
  const int64_t total = total_weights(*source_, true);
  if (options_.progress) {
    load.progress = [&](int64_t weights) { options_.progress({"vision weights", done += weights, total}); };
  }
  ASSIGN_OR_RETURN(VisionWeights weights, load_vision_weights(*backend_, config_.vision, source_, load));
  source_->drop_all();
  finish_cache(cache.get());
  ASSIGN_OR_RETURN(tower_, VisionTower::create(*backend_, config_.vision, std::move(weights)));
  return {};
}

Result<DType> Runner::prepare_vision() {
  if (tower_ == nullptr) RETURN_IF_ERROR(load_vision());
  return tower_->pixel_dtype();
}

Status Runner::encode_image(const PixelSource& pixels, const GridThw& grid, int32_t first_row) {
  ASSIGN_OR_RETURN([[maybe_unused]] const DType dtype, prepare_vision());
  RETURN_IF_ERROR(begin_image(pixels, grid, first_row));
  advance_image(std::numeric_limits<double>::infinity());
  return {};
}

Status Runner::begin_image(const PixelSource& pixels, const GridThw& grid, int32_t first_row) {
  const int64_t tokens = grid.num_tokens(static_cast<int32_t>(config_.vision.spatial_merge_size));
  if (first_row + tokens > images_.rows) {
    return Error{ErrorCode::kTooLarge, "the pictures need " + std::to_string(first_row + tokens) +
                                           " tokens; the context holds " + std::to_string(images_.rows)};
  }
  Matrix out = images_;
  out.data = image_rows(first_row);
  out.rows = tokens;
  return tower_->begin(pixels, grid, out, vision_stream());
}

bool Runner::enqueue_image(double max_flops) {
  return tower_->advance(max_flops, vision_stream());
}

bool Runner::advance_image(double max_flops) {
  const bool done = enqueue_image(max_flops);
  vision_stream().synchronize();
  return done;
}

void Runner::abandon_image() {
  tower_->abandon();
}

double Runner::image_flops() const {
  return tower_->total_flops();
}

double Runner::image_flops_done() const {
  return tower_->flops_done();
}

void Runner::read_images(int32_t first_row, int32_t count, std::byte* dst) {
  stream_->copy(dst, image_rows(first_row), static_cast<size_t>(count) * image_row_bytes());
  stream_->synchronize();
}

void Runner::write_images(int32_t first_row, int32_t count, const std::byte* src) {
  stream_->copy(image_rows(first_row), src, static_cast<size_t>(count) * image_row_bytes());
  stream_->synchronize();
}

std::byte* Runner::image_rows(int32_t first_row) const {
  return static_cast<std::byte*>(images_.data) + static_cast<size_t>(first_row) * image_row_bytes();
}

std::vector<float> Runner::image_embeddings(int64_t first_row, int64_t rows) {
  const auto count = static_cast<size_t>(rows * images_.stride);
  std::vector<std::byte> stored(count * dtype_bytes(images_.dtype));
  stream_->copy(stored.data(), image_rows(static_cast<int32_t>(first_row)), stored.size());
  stream_->synchronize();
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    values[i] = images_.dtype == DType::kF32 ? reinterpret_cast<const float*>(stored.data())[i]
                                             : to_float(reinterpret_cast<const bf16*>(stored.data())[i]);
  }
  return values;
}

const float* Runner::run(const Batch& batch) {
  const int32_t num_logits = enqueue(batch).num_logits;
  const Matrix& logits = decoder_->logits();
  if (!backend_->shares_host_memory() && num_logits > 0) {
    stream_->copy(host_logits_.data(), logits.data, static_cast<size_t>(num_logits * logits.stride) * sizeof(float));
  }
  stream_->synchronize();
  return backend_->shares_host_memory() ? logits.row<float>(0) : host_logits_.as<float>();
}

StepShape Runner::enqueue(const Batch& batch) {
  const StepShape shape = stage(batch);
  inputs_.upload(*stream_);
  const bool decodes = shape.num_tokens == shape.num_seqs && shape.num_logits == shape.num_seqs;
  for (const CapturedStep& step : captured_) {
    if (!decodes || step.size < shape.num_seqs) continue;
    stream_->launch(*step.graph);
    return shape;
  }
  decoder_->forward(shape, *stream_);
  return shape;
}

StepShape Runner::stage(const Batch& batch) {
  const StepLimits& limits = inputs_.limits();
  const StepFields<int32_t>& step = inputs_.next();
  CHECK(batch.entries.size() <= static_cast<size_t>(limits.max_seqs), batch.entries.size(), limits.max_seqs);
  int32_t num_tokens = 0;
  int32_t num_seqs = 0;
  int32_t num_logits = 0;
  step.cu_seqlens[0] = 0;
  for (const BatchEntry& entry : batch.entries) {
    const auto count = static_cast<int32_t>(entry.token_ids.size());
    const int32_t context = entry.num_computed + count;
    CHECK(count > 0 && num_tokens + count <= limits.max_tokens, count, num_tokens, limits.max_tokens);
    CHECK(entry.block_ids.size() * kv_->block_size >= static_cast<size_t>(context), entry.block_ids.size(), context);
    CHECK(entry.block_ids.size() <= static_cast<size_t>(limits.max_blocks_per_seq), entry.block_ids.size());
    std::copy(entry.token_ids.begin(), entry.token_ids.end(), step.token_ids + num_tokens);
    if (entry.image_rows.empty()) {
      std::fill_n(step.image_rows + num_tokens, count, -1);
    } else {
      std::copy(entry.image_rows.begin(), entry.image_rows.end(), step.image_rows + num_tokens);
    }
    for (size_t axis = 0; axis < 3; ++axis) {
      std::copy(entry.positions[axis].begin(), entry.positions[axis].end(),
                step.positions + static_cast<int64_t>(axis) * limits.max_tokens + num_tokens);
    }
    for (int32_t i = 0; i < count; ++i) {
      const int32_t at = entry.num_computed + i;
      step.slot_mapping[num_tokens + i] =
          entry.block_ids[static_cast<size_t>(at / kv_->block_size)] * kv_->block_size + at % kv_->block_size;
    }
    std::copy(entry.block_ids.begin(), entry.block_ids.end(),
              step.block_table + int64_t{num_seqs} * limits.max_blocks_per_seq);
    num_tokens += count;
    step.context_lens[num_seqs++] = context;
    step.cu_seqlens[num_seqs] = num_tokens;
    if (!entry.wants_logits) continue;
    step.row_slots[num_logits] = entry.slot;
    step.logits_idx[num_logits++] = num_tokens - 1;
  }
  step.counts[0] = num_tokens;
  step.counts[1] = num_seqs;
  step.counts[2] = num_logits;
  return {num_tokens, num_seqs, num_logits};
}

std::unique_ptr<PackedCache> Runner::open_cache(std::string_view part, Quantization quantization) const {
  // Only quantising is slow enough to be worth the disk.
  if (!backend_->shares_host_memory()) return nullptr;
  if (options_.cache_dir.empty() || options_.cache_key.empty() || quantization == Quantization::kNone) return nullptr;
  const std::string key = backend_->layout_id() + "|" + options_.cache_key + "|" + std::string(part) + "|" +
                          std::string(quantization_name(quantization)) + "|" + std::string(dtype_name(options_.dtype));
  char hash[17];
  std::snprintf(hash, sizeof hash, "%016zx", std::hash<std::string>{}(key));
  return PackedCache::open(options_.cache_dir + "/" + std::string(part) + "-" + hash + ".packed", key);
}

void Runner::finish_cache(PackedCache* cache) {
  if (cache == nullptr || cache->reading()) return;
  if (auto status = cache->finish(); !status) cache_warning_ = status.error().message;
}

}  // namespace glimpse
