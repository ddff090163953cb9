#pragma once

// Runs steps: owns the back end, the loaded model, its KV memory and its streams. Streams, device memory and graphs
// stop here; above it there are token ids, block ids and logits.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/batch.h"
#include "engine/device_usage.h"
#include "kernels/backend.h"
#include "model/loader.h"
#include "model/step_inputs.h"
#include "model/text_decoder.h"
#include "model/vision_tower.h"

namespace glimpse {

struct LoadProgress {
  std::string_view what;  // "text weights" or "vision weights"
  int64_t done = 0;       // weights
  int64_t total = 0;
};

struct RunnerOptions {
  DType dtype = DType::kBF16;                              // kBF16 or kF32
  Quantization quantization = Quantization::kNone;         // of the text decoder
  Quantization vision_quantization = Quantization::kNone;  // of the vision tower
  bool quantize_head = false;                              // the head in eight bits (LoadOptions)
  int32_t max_model_len = 8192;                            // tokens of a sequence's context
  int32_t max_num_batched_tokens = 512;                    // of one step
  int32_t max_num_seqs = 1;
  int64_t num_kv_tokens = 0;  // KV capacity of all sequences together; 0: max_model_len
  // Of a device's memory, what may be taken in all; the KV cache gets what weights, activations and pictures leave. 0:
  // num_kv_tokens decides.
  double gpu_memory_utilization = 0;
  bool enforce_eager = false;  // no captured steps, where the back end could
  int64_t num_image_rows = 0;  // image embeddings on the device, one row a token; 0: max_model_len
  std::string cache_dir;       // where packed quantised weights are kept; empty: nowhere
  std::string cache_key;       // names the checkpoint's content; empty: nothing is kept
  std::function<void(const LoadProgress&)> progress;
};

class Runner {
 public:
  // Loads the text decoder. The vision tower is loaded with the first picture. Errors: the loader's.
  static Result<std::unique_ptr<Runner>> create(std::unique_ptr<Backend> backend, const ModelConfig& config,
                                                std::shared_ptr<const WeightSource> source,
                                                const RunnerOptions& options);

  const ModelConfig& config() const { return config_; }
  const RunnerOptions& options() const { return options_; }
  int32_t block_size() const { return kv_->block_size; }
  int32_t num_blocks() const { return kv_->spec.num_blocks; }
  int64_t block_bytes() const { return kv_->block_bytes; }
  int32_t num_image_rows() const { return static_cast<int32_t>(images_.rows); }

  // What a picture's pixels have to be (VisionTower::pixel_dtype), loading the tower if need be.
  Result<DType> prepare_vision();
  // Whether pictures may be given as blocks (tensor/picture_block.h).
  bool cuts_pictures() const { return backend_->ops().cut_picture != nullptr; }
  // As StepRunner's.
  Result<Buffer> allocate_host(size_t bytes) { return backend_->allocate(bytes, MemoryKind::kPinnedHost); }
  DeviceUsage device_usage() const;
  // Encodes a picture into rows [first_row, first_row + tokens) of the image embeddings; returns when it is done.
  // Rows beyond the capacity do not exist: kTooLarge.
  Status encode_image(const PixelSource& pixels, const GridThw& grid, int32_t first_row);
  // Image embeddings [first_row, first_row + rows) as float32 rows of hidden_size, for tests and goldens.
  std::vector<float> image_embeddings(int64_t first_row, int64_t rows);
  // The same in slices: begin_image, then advance_image until it says that the picture is done. `pixels` may not change
  // before that. abandon_image: the picture that was begun is not wanted any more. begin_image after prepare_vision().
  Status begin_image(const PixelSource& pixels, const GridThw& grid, int32_t first_row);
  // Runs a slice of at most about `max_flops` operations (at least the smallest there is) and waits for it.
  bool advance_image(double max_flops);
  // The same without waiting.
  bool enqueue_image(double max_flops);
  void abandon_image();
  // Operations of the picture that was begun, and those of them that are done.
  double image_flops() const;
  double image_flops_done() const;
  // Rows of image embeddings to host memory and back, image_row_bytes() each.
  size_t image_row_bytes() const { return static_cast<size_t>(images_.cols) * dtype_bytes(images_.dtype); }
  void read_images(int32_t first_row, int32_t count, std::byte* dst);
  void write_images(int32_t first_row, int32_t count, const std::byte* src);

  // Runs one step and waits for it. Row i of the result (vocab float32 values) belongs to the i-th entry that wants
  // logits; valid until the next step. The batch has to fit the options (CHECK).
  const float* run(const Batch& batch);
  int64_t logits_stride() const { return decoder_->logits().stride; }

  // run() in two parts. enqueue() uploads the batch and enqueues its step; the logits are complete when the stream is.
  // Only one more step may be enqueued before the first is waited for.
  StepShape enqueue(const Batch& batch);
  Stream& stream() { return *stream_; }
  // Where the tower runs: a device has a stream for it that gives way to the steps.
  Stream& vision_stream() { return *vision_stream_; }
  const Matrix& logits() const { return decoder_->logits(); }
  // What the embedding of a token id -1 - slot reads, [max_num_seqs] in device memory.
  int32_t* last_ids() const { return last_ids_.as<int32_t>(); }
  const StepInputs& inputs() const { return inputs_; }
  Backend& backend() { return *backend_; }
  // Sizes of the decode batches that have a captured step.
  std::vector<int32_t> captured_sizes() const;

  // How the device's memory was divided: one line for people; empty on the CPU.
  const std::string& memory_plan() const { return memory_plan_; }

  // Why the packed weights could not be kept, or empty.
  const std::string& cache_warning() const { return cache_warning_; }

 private:
  Runner() = default;
  Status load_text(Backend& backend);
  Status load_vision();
  // Runs every class of step once, so that later ones allocate and choose nothing, and captures the decode steps.
  Status warm_up();
  StepShape stage(const Batch& batch);
  Result<int64_t> plan_kv_tokens(int64_t bytes_per_token);
  std::byte* image_rows(int32_t first_row) const;
  std::unique_ptr<PackedCache> open_cache(std::string_view part, Quantization quantization) const;
  void finish_cache(PackedCache* cache);

  std::unique_ptr<Backend> backend_;
  ModelConfig config_;
  std::shared_ptr<const WeightSource> source_;
  RunnerOptions options_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Stream> background_stream_;
  Stream* vision_stream_ = nullptr;  // one of the two
  std::unique_ptr<KvCache> kv_;
  StepInputs inputs_;
  Buffer image_memory_;
  Matrix images_;
  Buffer last_ids_;
  std::unique_ptr<TextDecoder> decoder_;
  struct CapturedStep {
    int32_t size = 0;  // sequences, one token each
    std::unique_ptr<Graph> graph;
  };
  std::vector<CapturedStep> captured_;  // ascending
  Buffer host_logits_;                  // where the host cannot read the device's
  std::unique_ptr<VisionTower> tower_;
  std::string cache_warning_;
  std::string memory_plan_;
};

}  // namespace glimpse
