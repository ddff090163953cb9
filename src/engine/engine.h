#pragma once

// Many requests at once over one model: continuous batching, prefix and vision caches. This is the whole boundary
// between the server and the engine; the engine has one thread of its own, which owns every sequence and every block.
// All methods may be called from any thread and return at once, except prepare_vision, allocate_pixels and stop.

#include <memory>

#include "engine/device_usage.h"
#include "engine/request.h"
#include "tensor/buffer.h"

namespace glimpse {

// A snapshot for /load, /metrics and the page; reading it takes no lock that the engine's thread waits for. Counters
// only grow.
struct EngineStats {
  int32_t num_running = 0;  // admitted: they hold blocks
  int32_t num_waiting = 0;
  int32_t num_drafts = 0;  // of those waiting or running
  int32_t num_blocks = 0;
  int32_t num_blocks_used = 0;    // held by sequences
  int32_t num_blocks_cached = 0;  // free but still holding a prefix
  int32_t block_size = 0;
  int64_t block_bytes = 0;
  int64_t image_rows = 0;  // capacity of the vision cache on the device, in tokens
  int64_t image_rows_used = 0;
  int64_t image_host_bytes = 0;       // spilled embeddings
  int64_t prefix_queries_tokens = 0;  // counter: prompt tokens looked up
  int64_t prefix_hits_tokens = 0;     // counter
  int64_t image_queries = 0;          // counter: find_image calls
  int64_t image_hits = 0;             // counter
  int64_t images_encoded = 0;         // counter
  int64_t preemptions = 0;            // counter
  int64_t steps = 0;                  // counter
  int64_t prompt_tokens = 0;          // counter: computed, cached ones included
  int64_t generation_tokens = 0;      // counter
};

// One step of the engine, for histograms and traces. `request_ids` are valid during the call only.
struct StepRecord {
  int64_t step_id = 0;
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  int32_t num_seqs = 0;
  int32_t num_prefill_tokens = 0;
  int32_t num_decode_tokens = 0;
  int32_t num_vision_stages = 0;  // slices of the vision tower run beside or between
  std::span<const std::string* const> request_ids;
};

// Watches the engine's thread; must not block.
class EngineObserver {
 public:
  virtual ~EngineObserver() = default;
  virtual void on_step(const StepRecord& step) = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;

  // Longest prompt and answer together, in tokens.
  virtual int32_t max_model_len() const = 0;

  // The dtype that add_image wants; loads the vision tower at the first call, which may take seconds.
  virtual Result<DType> prepare_vision() = 0;
  // Whether add_image takes decoded pictures with their tables as well (PixelValues::block).
  virtual bool cuts_pictures() const = 0;
  // Memory for pixels: that which they reach the device from fastest, 64-byte aligned. Errors: kResource.
  virtual Result<Buffer> allocate_pixels(size_t bytes) = 0;
  // The picture if the vision cache has it, encoded or on its way; null otherwise. Counts as a query, and a hit.
  virtual ImageRef find_image(const ImageKey& key) = 0;
  // Queues a picture for the tower and returns at once. When the key is known already, the known one comes back and
  // `pixels` are dropped. `on_encoded` (may be empty) is called once on the engine's thread. Errors: kTooLarge when it
  // has more tokens than the context; kOverloaded when too much is queued.
  virtual Result<ImageRef> add_image(const ImageKey& key, const GridThw& grid, PixelValues pixels, Priority priority,
                                     std::function<void()> on_encoded) = 0;

  // Queues a request. Its end arrives as an event, whatever happens; after an error here, nothing arrives. Errors:
  // kTooLarge when the prompt leaves no room for one token of answer; kInvalidArgument for sampling parameters;
  // kOverloaded when the queue is full or the engine is stopping.
  virtual Result<uint64_t> submit(EngineRequest request) = 0;
  // Ends a request as kCancelled within one step; does nothing for one that has ended.
  virtual void cancel(uint64_t request) = 0;

  virtual EngineStats stats() const = 0;
  // Asks the driver, which may take its time: not for the I/O thread. From any thread.
  virtual DeviceUsage device_usage() const { return {}; }
  // Takes no new work; returns when all requests have ended, or cancels what is left at `deadline_ns`.
  virtual void stop(int64_t deadline_ns) = 0;
};

}  // namespace glimpse
