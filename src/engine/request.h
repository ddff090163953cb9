#pragma once

// What the engine is asked and what it answers. Nothing here knows HTTP, JSON or text: token ids go in and come out.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/latency.h"
#include "base/result.h"
#include "engine/finish_reason.h"
#include "engine/prompt.h"
#include "model/mrope.h"
#include "sampling/params.h"
#include "sampling/sampler.h"
#include "sampling/token_mask.h"
#include "tensor/picture_block.h"

namespace glimpse {

// Names a picture's embeddings: SHA-256 of the compressed bytes, the decode and resize options and the model id.
// Clients choose the bytes, so the hash has to be one they cannot collide.
struct ImageKey {
  std::array<uint8_t, 32> sha256{};
  auto operator<=>(const ImageKey&) const = default;
};

// One stretch of work on one clock (base/clock.h).
struct SpanRecord {
  Span span = Span::kQueue;
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
};

// A picture that the engine knows, shared by everyone who asks about it. Holding an ImageRef pins its embeddings: they
// are not forgotten while a request or an uploaded file's owner holds one. Methods may be called from any thread.
class EngineImage {
 public:
  virtual ~EngineImage() = default;
  virtual const ImageKey& key() const = 0;
  virtual const GridThw& grid() const = 0;
  virtual int32_t num_tokens() const = 0;
  // Whether the tower has finished it.
  virtual bool encoded() const = 0;
  // The vision spans so far: one for each slice that the tower worked on it.
  virtual std::vector<SpanRecord> spans() const = 0;
};
using ImageRef = std::shared_ptr<EngineImage>;

// The tower's input, [patches, patch_dim] of Engine::prepare_vision's dtype; or the picture and its tables, where
// Engine::cuts_pictures. Owned by the engine until the tower has read it; the deleter may return a reused buffer to its
// pool.
struct PixelValues {
  std::shared_ptr<const std::byte> data;
  size_t bytes = 0;
  std::optional<PictureBlock> block = std::nullopt;

  PixelSource source() const { return {data.get(), block ? &*block : nullptr}; }
};

// Lower runs first. A running request of a lower class may be preempted for a higher one.
enum class Priority : uint8_t { kInteractive, kBackground, kDraft };

// Some tokens of an answer, or its end. Delivered in order on the engine's thread.
struct EngineEvent {
  // Usually one. The last one may be the stop token, which is not text (finish == kStop and stop_token_id set).
  std::vector<SampledToken> tokens;
  // What the engine did for this request since the last event: queue, prefill, first_token, decode, without a gap from
  // submit() to the end. What the tower did for its pictures is in EngineImage::spans().
  std::vector<SpanRecord> spans;
  // Set on the last event, exactly once per submitted request.
  std::optional<FinishReason> finish;
  std::optional<int32_t> stop_token_id;  // with kStop: the id that ended it
  std::string error;                     // with kFailed: one line
  int32_t num_prompt_tokens = 0;         // known from the first event on
  int32_t num_cached_tokens = 0;         // of the prompt, found in the prefix cache
  int32_t num_preemptions = 0;
};

// Called on the engine's thread: must not block, nor call back into the engine except Engine::cancel.
using EventCallback = std::function<void(EngineEvent)>;

struct EngineRequest {
  std::string id;                // for logs and traces
  Prompt prompt;                 // image_rows count through the request's own pictures, one behind the other
  std::vector<ImageRef> images;  // as prompt.grids
  SamplingParams sampling;
  std::vector<int32_t> stop_token_ids;    // end the answer: the checkpoint's and the request's; empty: none
  std::shared_ptr<TokenMask> token_mask;  // constrained decoding; null: every token is allowed
  std::string mask_key;                   // equal for masks that allow the same; empty: none, or nobody can tell
  // Tokens of the answer at most. 0: compute the prompt's KV into the prefix cache and finish (kLength): a draft.
  int32_t max_tokens = 0;
  Priority priority = Priority::kInteractive;
  std::optional<int64_t> deadline_ns;  // later than this it ends as kDeadline, in whatever phase it is
  std::string cache_salt;              // requests with different salts share no KV
  int64_t arrival_ns = 0;              // the queue's order within a class
  EventCallback on_event;
};

}  // namespace glimpse
