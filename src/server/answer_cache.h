#pragma once

// Answers that are sure to be the same again: what the engine drew for a request that is greedy or seeded, kept by all
// that decides it. Off unless it is given room. What is kept are tokens, so that the same answer can be asked for whole
// or streamed, and goes the same way to the client as the first time. Any thread.

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/request.h"
#include "server/sha256.h"

namespace glimpse {

struct CachedAnswer {
  std::vector<int32_t> ids;
  std::vector<SampledToken> tokens;  // instead of ids where log-probabilities were asked for
  std::optional<FinishReason> finish;
  std::optional<int32_t> stop_token_id;

  void append(const EngineEvent& event, bool with_logprobs);
  // As the engine would tell it in one event to a request whose prompt is in its cache.
  EngineEvent event(int32_t num_prompt_tokens) const;
  size_t bytes() const;
};

class AnswerCache {
 public:
  explicit AnswerCache(size_t max_bytes) : max_bytes_(max_bytes) {}
  bool enabled() const { return max_bytes_ > 0; }

  // Names all that decides a request's tokens: salt, prompt, pictures, how tokens are chosen, where the answer ends.
  // Nothing for what is drawn anew each time. `images` are those of the request, `salt` the caller's and the client's.
  static std::optional<Sha256Digest> key_of(const EngineRequest& request, std::span<const ImageKey> images,
                                            std::string_view salt);

  // Null: unknown. Counts as a query, and a hit.
  std::shared_ptr<const CachedAnswer> find(const Sha256Digest& key);
  // Makes room by forgetting what was used longest ago; what is larger than all room is not kept.
  void add(const Sha256Digest& key, CachedAnswer answer);

  struct Stats {
    int64_t queries = 0;  // counter
    int64_t hits = 0;     // counter
    size_t bytes = 0;
    size_t count = 0;
  };
  Stats stats() const;

 private:
  struct Entry {
    Sha256Digest key;
    std::shared_ptr<const CachedAnswer> answer;
    size_t bytes = 0;
  };
  using Ages = std::list<Entry>;  // least recently used first

  const size_t max_bytes_;
  mutable std::mutex mutex_;
  Ages ages_;
  std::map<Sha256Digest, Ages::iterator> entries_;
  Stats stats_;
};

}  // namespace glimpse
