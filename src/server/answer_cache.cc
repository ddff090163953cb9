#include "server/answer_cache.h"

#include <type_traits>

namespace glimpse {

namespace {

// What an entry takes beside its tokens: list and map nodes, the answer's own fields.
constexpr size_t kEntryBytes = 256;

// Every field with its length, so that no two requests read the same.
class KeyWriter {
 public:
  void text(std::string_view bytes) {
    value(bytes.size());
    hash_.update(bytes);
  }
  template <typename T>
  void value(const T& number) {
    static_assert(std::is_arithmetic_v<T>);
    hash_.update({reinterpret_cast<const char*>(&number), sizeof number});
  }
  template <typename T>
  void list(const std::vector<T>& numbers) {
    static_assert(std::is_arithmetic_v<T>);
    text({reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)});
  }
  Sha256Digest finish() { return hash_.finish(); }

 private:
  Sha256 hash_;
};

}  // namespace

void CachedAnswer::append(const EngineEvent& event, bool with_logprobs) {
  if (with_logprobs) {
    tokens.insert(tokens.end(), event.tokens.begin(), event.tokens.end());
  } else {
    for (const SampledToken& token : event.tokens) ids.push_back(token.id);
  }
  finish = event.finish;
  stop_token_id = event.stop_token_id;
}

EngineEvent CachedAnswer::event(int32_t num_prompt_tokens) const {
  EngineEvent event;
  event.tokens = tokens;
  for (const int32_t id : ids) event.tokens.push_back({.id = id, .top_logprobs = {}});
  event.finish = finish;
  event.stop_token_id = stop_token_id;
  event.num_prompt_tokens = event.num_cached_tokens = num_prompt_tokens;
  return event;
}

size_t CachedAnswer::bytes() const {
  size_t bytes = kEntryBytes + ids.capacity() * sizeof(int32_t) + tokens.capacity() * sizeof(SampledToken);
  for (const SampledToken& token : tokens) {
    bytes += token.top_logprobs.capacity() * sizeof(token.top_logprobs[0]);
  }
  return bytes;
}

std::optional<Sha256Digest> AnswerCache::key_of(const EngineRequest& request, std::span<const ImageKey> images,
                                                std::string_view salt) {
  const SamplingParams& sampling = request.sampling;
  const bool greedy = sampling.temperature == 0;
  if (!greedy && !sampling.seed) return std::nullopt;
  if (request.token_mask != nullptr && request.mask_key.empty()) return std::nullopt;
  KeyWriter key;
  key.text(salt);
  key.list(request.prompt.token_ids);
  key.value(images.size());
  for (const ImageKey& image : images) {
    key.text({reinterpret_cast<const char*>(image.sha256.data()), image.sha256.size()});
  }
  key.value(greedy);
  if (!greedy) {  // the likeliest token is the same whatever these are
    key.value(sampling.temperature);
    key.value(sampling.top_k);
    key.value(sampling.top_p);
    key.value(sampling.min_p);
    key.value(*sampling.seed);
  }
  key.value(sampling.repetition_penalty);
  key.value(sampling.frequency_penalty);
  key.value(sampling.presence_penalty);
  key.value(sampling.logit_bias.size());
  for (const auto& [id, bias] : sampling.logit_bias) {
    key.value(id);
    key.value(bias);
  }
  key.value(sampling.stop.size());
  for (const std::string& stop : sampling.stop) key.text(stop);
  key.value(sampling.min_tokens);
  key.value(sampling.logprobs);
  key.list(request.stop_token_ids);
  key.text(request.mask_key);
  key.value(request.max_tokens);
  return key.finish();
}

std::shared_ptr<const CachedAnswer> AnswerCache::find(const Sha256Digest& key) {
  const std::lock_guard lock(mutex_);
  ++stats_.queries;
  const auto found = entries_.find(key);
  if (found == entries_.end()) return nullptr;
  ++stats_.hits;
  ages_.splice(ages_.end(), ages_, found->second);
  return found->second->answer;
}

void AnswerCache::add(const Sha256Digest& key, CachedAnswer answer) {
  answer.ids.shrink_to_fit();
  answer.tokens.shrink_to_fit();
  const size_t bytes = answer.bytes();
  if (bytes > max_bytes_) return;
  const std::lock_guard lock(mutex_);
  if (entries_.contains(key)) return;  // asked twice at once: the same
  while (stats_.bytes + bytes > max_bytes_) {
    stats_.bytes -= ages_.front().bytes;
    entries_.erase(ages_.front().key);
    ages_.pop_front();
  }
  const auto entry = ages_.insert(ages_.end(), {key, std::make_shared<const CachedAnswer>(std::move(answer)), bytes});
  entries_.emplace(key, entry);
  stats_.bytes += bytes;
}

AnswerCache::Stats AnswerCache::stats() const {
  const std::lock_guard lock(mutex_);
  Stats stats = stats_;
  stats.count = entries_.size();
  return stats;
}

}  // namespace glimpse
