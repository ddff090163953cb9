#include "model/loader.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>
#include <string_view>

#include "base/check.h"
#include "model/repeated_table.h"

namespace glimpse {

namespace {

constexpr std::string_view kText = "model.language_model.";
constexpr std::string_view kVision = "model.visual.";

// What the weights point into: small tensors in one arena, the source of a mapped embedding, the cache's mapping.
struct Owner {
  explicit Owner(Backend& backend) : arena(backend) {}
  Arena arena;
  std::vector<std::unique_ptr<PackedLinear>> layers;
  std::shared_ptr<const WeightSource> source;
  std::shared_ptr<const MappedFile> cache;
  std::shared_ptr<const RepeatedTable> table;
};

// A piece of a linear layer: consecutive rows from one tensor.
struct Part {
  std::string name;
  int64_t rows = 0;
};

class Loader {
 public:
  // keep_stored: a quantised checkpoint's layers keep their form; else they are dequantised.
  Loader(Backend& backend, std::shared_ptr<const WeightSource> source, const LoadOptions& options, int64_t hidden_size,
         bool keep_stored)
      : backend_(backend),
        options_(options),
        keep_stored_(keep_stored),
        stream_(backend.make_stream()),
        owner_(std::make_shared<Owner>(backend)),
        group_(quantization_group(hidden_size)) {
    owner_->source = std::move(source);
    if (options.cache != nullptr) owner_->cache = options.cache->mapping();
  }

  WeightFormat plain_format() const { return options_.dtype == DType::kF32 ? WeightFormat::kF32 : WeightFormat::kBF16; }
  WeightFormat format(LinearConsumer consumer, int64_t cols) const {
    if (consumer == LinearConsumer::kHead && options_.quantize_head) {
      const bool f8 = backend_.format_for({.kind = StoredWeights::Kind::kF8, .group = cols}, cols) == WeightFormat::kF8;
      return f8 ? WeightFormat::kF8 : WeightFormat::kI8;
    }
    switch (options_.quantization) {
      case Quantization::kNone:
        return plain_format();
      case Quantization::kInt8:
        return WeightFormat::kI8;
      case Quantization::kInt4:
        return consumer == LinearConsumer::kHead ? WeightFormat::kI8 : WeightFormat::kI4;
      case Quantization::kFp8:
        return consumer == LinearConsumer::kHead ? plain_format() : WeightFormat::kF8;
    }
    return plain_format();
  }

  Result<WeightTensor> tensor(const std::string& name, std::vector<int64_t> shape) const {
    ASSIGN_OR_RETURN(const WeightTensor found, owner_->source->get({name, std::move(shape)}));
    const DType dtype = found.info().dtype;
    if (dtype != DType::kBF16 && dtype != DType::kF16 && dtype != DType::kF32) {
      return Error{ErrorCode::kUnsupported, owner_->source->label() + ": tensor " + name + " has dtype " +
                                                std::string(dtype_name(dtype)) + "; this needs a float type"};
    }
    return found;
  }

  // All values of a small tensor.
  Result<std::vector<float>> values(const std::string& name, std::vector<int64_t> shape) const {
    ASSIGN_OR_RETURN(const WeightTensor found, tensor(name, std::move(shape)));
    std::vector<float> out(static_cast<size_t>(found.num_rows() * found.row_size()));
    RETURN_IF_ERROR(found.read_rows(0, found.num_rows(), std::span<float>(out)));
    return out;
  }

  // The same as float32 in device memory.
  Status constant(const float*& destination, const std::string& name, std::vector<int64_t> shape) {
    ASSIGN_OR_RETURN(const std::vector<float> host, values(name, std::move(shape)));
    ASSIGN_OR_RETURN(destination, owner_->arena.constant<float>(host, *stream_));
    return {};
  }

  // Rows [first, first + count) of a tensor. The dtype was checked, and rows come from the tensor's own shape: what can
  // still fail is a quantised layer that contradicts its config. pack() then reports the first such error.
  template <typename T>
  void read(const WeightTensor& tensor, int64_t first, int64_t count, T* out) {
    note(tensor.read_rows(first, count, std::span<T>(out, static_cast<size_t>(count * tensor.row_size()))));
    tensor.drop_rows(first, count);
  }

  // Called from the packing threads.
  void note(Status status) {
    if (status) return;
    const std::lock_guard lock(error_mutex_);
    if (!error_) error_ = std::move(status).error();
  }

  // A layer whose rows are the parts' rows, in order; with a bias if the parts have one.
  Status linear(std::unique_ptr<PackedLinear>& destination, const std::string& name, const std::vector<Part>& parts,
                int64_t cols, LinearConsumer consumer, bool with_bias = false) {
    LinearSpec spec{
        .name = name, .cols = cols, .consumer = consumer, .format = format(consumer, cols), .group = group_};
    std::vector<WeightTensor> tensors;
    std::vector<float> bias;
    for (const Part& part : parts) {
      ASSIGN_OR_RETURN(const WeightTensor found, tensor(part.name + ".weight", {part.rows, cols}));
      tensors.push_back(found);
      spec.rows += part.rows;
      if (with_bias) {
        ASSIGN_OR_RETURN(const std::vector<float> piece, values(part.name + ".bias", {part.rows}));
        bias.insert(bias.end(), piece.begin(), piece.end());
      }
    }
    spec.bias = bias;
    // Calls each(part, first row in it, rows of it, rows before them in the range).
    const auto for_parts = [&tensors](int64_t first, int64_t count, const auto& each) {
      int64_t done = 0;
      for (const WeightTensor& part : tensors) {
        const int64_t rows = part.num_rows();
        if (first < rows) {
          const int64_t here = std::min(count, rows - first);
          each(part, first, here, done);
          done += here;
          count -= here;
          first += here;
        }
        first -= rows;
        if (count == 0) return;
      }
    };
    const auto read_parts = [&](int64_t first, int64_t count, auto* out) {
      for_parts(first, count, [&](const WeightTensor& part, int64_t begin, int64_t rows, int64_t done) {
        read(part, begin, rows, out + done * cols);
      });
    };
    RowReader reader(read_parts, read_parts);
    if (const auto stored = stored_weights(tensors)) use_stored(spec, reader, *stored, for_parts);
    return pack(destination, spec, reader);
  }

  // How the parts of a layer are stored, if that is quantised and the same for all.
  std::optional<StoredWeights> stored_weights(const std::vector<WeightTensor>& parts) const {
    std::optional<StoredWeights> all;
    for (const WeightTensor& part : parts) {
      const auto format = part.stored_format();
      if (!format) return std::nullopt;
      const StoredWeights one{.kind = format->kind == StoredFormat::Kind::kInt4   ? StoredWeights::Kind::kInt4
                                      : format->kind == StoredFormat::Kind::kInt8 ? StoredWeights::Kind::kInt8
                                                                                  : StoredWeights::Kind::kF8,
                              .group = format->group,
                              .plain = format->row_scales && !format->act_order,
                              .zero_points = format->zero_points};
      if (all && !(*all == one)) return std::nullopt;
      all = one;
    }
    return all;
  }

  // A quantised checkpoint's layers keep their form where the user asks for nothing else and the back end has it.
  template <typename ForParts>
  void use_stored(LinearSpec& spec, RowReader& reader, const StoredWeights& stored, const ForParts& for_parts) {
    if (!keep_stored_ || options_.quantization != Quantization::kNone || options_.dtype == DType::kF32) return;
    spec.format = backend_.format_for(stored, spec.cols);
    if (spec.format == WeightFormat::kI4 && (stored.group == 32 || stored.group == 128)) {
      spec.group = static_cast<int32_t>(stored.group);
    } else if (spec.format == WeightFormat::kI4) {
      spec.group = 128;  // a back end that repeats the scales of longer groups
    }
    reader.stored = stored;
    const int64_t cols = spec.cols;
    if (spec.format == WeightFormat::kI4 && stored.plain) {
      const int64_t groups = (cols + stored.group - 1) / stored.group;
      reader.int4 = [this, &for_parts, cols, groups](int64_t first, int64_t count, uint8_t* values, float* scales,
                                                     uint8_t* zeros) {
        for_parts(first, count, [&](const WeightTensor& part, int64_t begin, int64_t rows, int64_t done) {
          note(part.read_int4(begin, rows, {values + done * cols, scales + done * groups, zeros + done * groups}));
          part.drop_rows(begin, rows);
        });
      };
    }
    if (spec.format == WeightFormat::kF8 && stored.plain) {
      reader.f8 = [this, &for_parts, cols](int64_t first, int64_t count, uint8_t* values, float* scales) {
        for_parts(first, count, [&](const WeightTensor& part, int64_t begin, int64_t rows, int64_t done) {
          note(part.read_f8(begin, rows, {values + done * cols, scales + done}));
          part.drop_rows(begin, rows);
        });
      };
    }
  }

  // From the cache, or read and packed (and added to a cache that is being written).
  Status pack(std::unique_ptr<PackedLinear>& destination, const LinearSpec& spec, const RowReader& reader) {
    PackedCache* cache = options_.cache;
    if (cache != nullptr && cache->reading()) {
      const auto bytes = cache->find(spec.name);
      if (bytes.empty()) return Error{ErrorCode::kInvalidData, "packed cache lacks " + spec.name};
      ASSIGN_OR_RETURN(destination, backend_.adopt(spec, bytes));
    } else {
      ASSIGN_OR_RETURN(destination, backend_.pack(spec, reader));
      if (error_) return *error_;
      if (cache != nullptr) cache->add(spec.name, destination->bytes());
    }
    if (options_.progress) options_.progress(spec.rows * spec.cols);
    return {};
  }

  // The embedding stays where it is if it can be read there. Generated rows repeat; a table at an odd address is
  // copied.
  Result<Matrix> embedding(const std::string& name, int64_t rows, int64_t cols) {
    ASSIGN_OR_RETURN(const WeightTensor found, tensor(name, {rows, cols}));
    const DType dtype = found.info().dtype;
    const auto stored = found.bytes();
    if (!backend_.shares_host_memory()) {
      // Ops cannot read the file's mapping: the table goes to the device, in the dtype of the plain weights.
      const DType to = options_.dtype == DType::kF32 ? DType::kF32 : DType::kBF16;
      ASSIGN_OR_RETURN(const Matrix table, owner_->arena.matrix(rows, cols, to));
      backend_.fill(table.data, rows, static_cast<size_t>(cols) * dtype_bytes(to),
                    [&](int64_t first, int64_t count, std::byte* out) {
                      if (to == DType::kF32) {
                        read(found, first, count, reinterpret_cast<float*>(out));
                      } else {
                        read(found, first, count, reinterpret_cast<bf16*>(out));
                      }
                    });
      return table;
    }
    if (stored.empty()) {
      ASSIGN_OR_RETURN(
          const auto table,
          RepeatedTable::create(rows, static_cast<size_t>(cols) * sizeof(bf16), [&](std::span<std::byte> out) {
            const auto count = static_cast<int64_t>(out.size() / sizeof(bf16));
            return found.read_rows(0, count / cols,
                                   std::span(reinterpret_cast<bf16*>(out.data()), static_cast<size_t>(count)));
          }));
      owner_->table = table;
      return Matrix{const_cast<std::byte*>(table->data()), DType::kBF16, rows, cols, cols};
    }
    if (reinterpret_cast<uintptr_t>(stored.data()) % dtype_bytes(dtype) == 0) {
      // Ops only read a table; Matrix has no const flavour.
      return Matrix{const_cast<std::byte*>(stored.data()), dtype, rows, cols, cols};
    }
    ASSIGN_OR_RETURN(const Matrix copy, owner_->arena.matrix(rows, cols, dtype));
    std::memcpy(copy.data, stored.data(), stored.size());  // the host's memory: see above
    return copy;
  }

  Backend& backend() { return backend_; }
  Arena& arena() { return owner_->arena; }
  Stream& stream() { return *stream_; }
  std::shared_ptr<void> owner() const { return owner_; }
  int32_t group() const { return group_; }

 private:
  Backend& backend_;
  const LoadOptions& options_;
  const bool keep_stored_;
  std::unique_ptr<Stream> stream_;
  std::shared_ptr<Owner> owner_;
  int32_t group_;
  std::mutex error_mutex_;
  std::optional<Error> error_;
};

}  // namespace

namespace {

bool same_input(const PackedLinear& a, const PackedLinear& b) {
  return a.input_dtype() == b.input_dtype() && (a.input_dtype() != DType::kI8 || a.group == b.group);
}

// The decoder has one buffer for each kind of product's input, so every layer has to read the same form.
bool is_uniform(const TextWeights& weights) {
  const TextWeights::Layer& first = weights.layers.front();
  return std::all_of(weights.layers.begin(), weights.layers.end(), [&](const TextWeights::Layer& layer) {
    return same_input(*layer.qkv_proj, *first.qkv_proj) && same_input(*layer.gate_up_proj, *first.qkv_proj) &&
           same_input(*layer.o_proj, *first.o_proj) && same_input(*layer.down_proj, *first.down_proj);
  });
}

Result<TextWeights> load_text(Backend& backend, const TextConfig& config, std::shared_ptr<const WeightSource> source,
                              const LoadOptions& options, bool keep_stored) {
  Loader load(backend, std::move(source), options, config.hidden_size, keep_stored);
  const int64_t hidden = config.hidden_size;
  TextWeights weights;
  const std::string root(kText);
  const std::string embed_name = root + "embed_tokens.weight";
  ASSIGN_OR_RETURN(weights.embed_tokens, load.embedding(embed_name, config.vocab_size, hidden));
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string base = root + "layers." + std::to_string(i) + ".";
    TextWeights::Layer& layer = weights.layers.emplace_back();
    RETURN_IF_ERROR(load.constant(layer.input_layernorm, base + "input_layernorm.weight", {hidden}));
    RETURN_IF_ERROR(load.constant(layer.post_self_attn_layernorm, base + "post_self_attn_layernorm.weight", {hidden}));
    RETURN_IF_ERROR(load.constant(layer.post_attention_layernorm, base + "post_attention_layernorm.weight", {hidden}));
    RETURN_IF_ERROR(load.constant(layer.post_mlp_layernorm, base + "post_mlp_layernorm.weight", {hidden}));
    RETURN_IF_ERROR(load.linear(layer.qkv_proj, base + "self_attn.qkv_proj",
                                {{base + "self_attn.q_proj", config.q_size()},
                                 {base + "self_attn.k_proj", config.kv_size()},
                                 {base + "self_attn.v_proj", config.kv_size()}},
                                hidden, LinearConsumer::kQkv, config.attention_bias));
    RETURN_IF_ERROR(load.linear(layer.o_proj, base + "self_attn.o_proj", {{base + "self_attn.o_proj", hidden}},
                                config.q_size(), LinearConsumer::kPlain));
    RETURN_IF_ERROR(load.linear(layer.gate_up_proj, base + "mlp.gate_up_proj",
                                {{base + "mlp.gate_up_proj", 2 * config.intermediate_size}}, hidden,
                                LinearConsumer::kGateUp));
    RETURN_IF_ERROR(load.linear(layer.down_proj, base + "mlp.down_proj", {{base + "mlp.down_proj", hidden}},
                                config.intermediate_size, LinearConsumer::kPlain));
  }
  RETURN_IF_ERROR(load.constant(weights.norm, root + "norm.weight", {hidden}));
  const std::string head = config.tie_word_embeddings ? root + "embed_tokens" : "lm_head";
  RETURN_IF_ERROR(load.linear(weights.lm_head, "lm_head", {{head, config.vocab_size}}, hidden, LinearConsumer::kHead));
  weights.owner = load.owner();
  return weights;
}

}  // namespace

Result<TextWeights> load_text_weights(Backend& backend, const TextConfig& config,
                                      std::shared_ptr<const WeightSource> source, const LoadOptions& options) {
  ASSIGN_OR_RETURN(TextWeights weights, load_text(backend, config, source, options, true));
  if (is_uniform(weights)) return weights;
  // Layers of several kinds, which this back end would feed differently.
  weights = {};
  return load_text(backend, config, std::move(source), options, false);
}

Result<VisionWeights> load_vision_weights(Backend& backend, const VisionConfig& config,
                                          std::shared_ptr<const WeightSource> source, const LoadOptions& options) {
  Loader load(backend, std::move(source), options, config.hidden_size, false);
  const int64_t hidden = config.hidden_size;
  const int64_t out_hidden = config.out_hidden_size;
  const int64_t merge = config.spatial_merge_size;
  const int64_t patch = config.patch_size;
  const std::string root(kVision);
  VisionWeights weights;

  // The two frames of a still picture are equal, so the kernel is summed over time: half the pixels and products.
  const int64_t plane = patch * patch;
  const int64_t frames = config.temporal_patch_size;
  ASSIGN_OR_RETURN(const WeightTensor kernel,
                   load.tensor(root + "patch_embed.proj.weight", {hidden, config.in_channels, frames, patch, patch}));
  ASSIGN_OR_RETURN(const std::vector<float> kernel_bias, load.values(root + "patch_embed.proj.bias", {hidden}));
  RETURN_IF_ERROR(load.pack(weights.patch_embed,
                            {.name = root + "patch_embed",
                             .rows = hidden,
                             .cols = config.in_channels * plane,
                             .format = load.plain_format(),
                             .bias = kernel_bias},
                            [&](int64_t first, int64_t count, float* out) {
                              std::vector<float> row(static_cast<size_t>(kernel.row_size()));
                              for (int64_t r = 0; r < count; ++r) {
                                load.read(kernel, first + r, 1, row.data());
                                for (int64_t c = 0; c < config.in_channels; ++c) {
                                  for (int64_t i = 0; i < plane; ++i) {
                                    float sum = 0;
                                    for (int64_t t = 0; t < frames; ++t) {
                                      sum += row[static_cast<size_t>((c * frames + t) * plane + i)];
                                    }
                                    *out++ = sum;
                                  }
                                }
                              }
                            }));
  RETURN_IF_ERROR(load.constant(weights.post_conv_layernorm, root + "post_conv_layernorm.weight", {hidden}));
  RETURN_IF_ERROR(load.constant(weights.position_embedding, root + "embeddings.position_embedding.weight",
                                {config.num_positions(), hidden}));
  for (int64_t i = 0; i < config.depth; ++i) {
    const std::string base = root + "blocks." + std::to_string(i) + ".";
    VisionWeights::Block& block = weights.blocks.emplace_back();
    RETURN_IF_ERROR(load.constant(block.norm1, base + "norm1.weight", {hidden}));
    RETURN_IF_ERROR(load.constant(block.norm2, base + "norm2.weight", {hidden}));
    RETURN_IF_ERROR(load.linear(block.qkv, base + "attn.qkv", {{base + "attn.qkv", 3 * hidden}}, hidden,
                                LinearConsumer::kQkv, config.attention_bias));
    RETURN_IF_ERROR(
        load.linear(block.proj, base + "attn.proj", {{base + "attn.proj", hidden}}, hidden, LinearConsumer::kPlain));
    RETURN_IF_ERROR(load.linear(block.gate_up, base + "mlp.gate_up_proj",
                                {{base + "mlp.gate_proj", out_hidden}, {base + "mlp.up_proj", out_hidden}}, hidden,
                                LinearConsumer::kGateUp));
    RETURN_IF_ERROR(load.linear(block.down, base + "mlp.down_proj", {{base + "mlp.down_proj", hidden}}, out_hidden,
                                LinearConsumer::kPlain));
  }
  RETURN_IF_ERROR(load.constant(weights.post_layernorm, root + "post_layernorm.weight", {hidden}));

  // The 2x2 convolution as a product over a window's four patches, (dy, dx) slowest. A quantised product needs whole
  // groups in each patch, because its input is written patch by patch.
  const int64_t window = merge * merge;
  ASSIGN_OR_RETURN(const WeightTensor conv,
                   load.tensor(root + "downsample.weight", {out_hidden, hidden, merge, merge}));
  ASSIGN_OR_RETURN(const std::vector<float> conv_bias, load.values(root + "downsample.bias", {out_hidden}));
  const bool whole_groups = hidden % load.group() == 0;
  RETURN_IF_ERROR(
      load.pack(weights.downsample,
                {.name = root + "downsample",
                 .rows = out_hidden,
                 .cols = window * hidden,
                 .format = whole_groups ? load.format(LinearConsumer::kPlain, window * hidden) : load.plain_format(),
                 .group = load.group(),
                 .bias = conv_bias},
                [&](int64_t first, int64_t count, float* out) {
                  std::vector<float> row(static_cast<size_t>(conv.row_size()));
                  for (int64_t r = 0; r < count; ++r) {
                    load.read(conv, first + r, 1, row.data());
                    for (int64_t w = 0; w < window; ++w) {
                      for (int64_t c = 0; c < hidden; ++c) {
                        *out++ = row[static_cast<size_t>(c * window + w)];
                      }
                    }
                  }
                }));
  const std::string merger = root + "merger.";
  RETURN_IF_ERROR(load.linear(weights.merger_proj, merger + "proj", {{merger + "proj", out_hidden}}, out_hidden,
                              LinearConsumer::kPlain));
  RETURN_IF_ERROR(load.constant(weights.merger_norm_weight, merger + "post_projection_norm.weight", {out_hidden}));
  RETURN_IF_ERROR(load.constant(weights.merger_norm_bias, merger + "post_projection_norm.bias", {out_hidden}));
  RETURN_IF_ERROR(
      load.linear(weights.merger_gate_up, merger + "gate_up_proj",
                  {{merger + "gate_proj", config.intermediate_size}, {merger + "up_proj", config.intermediate_size}},
                  out_hidden, LinearConsumer::kGateUp));
  RETURN_IF_ERROR(load.linear(weights.merger_down, merger + "down_proj", {{merger + "down_proj", out_hidden}},
                              config.intermediate_size, LinearConsumer::kPlain));
  weights.owner = load.owner();
  return weights;
}

}  // namespace glimpse
