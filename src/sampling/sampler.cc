#include "sampling/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>

namespace glimpse {

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// NaN compares false, so it is never the largest; all NaN or -inf gives 0.
int32_t argmax(std::span<const float> values) {
  // Blocks first: the compiler turns a plain maximum into vector code, but not a search for its place.
  constexpr size_t kBlock = 256;
  float best = kNever;
  size_t best_block = 0;
  for (size_t begin = 0; begin < values.size(); begin += kBlock) {
    const size_t end = std::min(begin + kBlock, values.size());
    std::array<float, 16> lanes;
    lanes.fill(kNever);
    size_t i = begin;
    for (; i + 16 <= end; i += 16) {
      for (size_t j = 0; j < 16; ++j) lanes[j] = values[i + j] > lanes[j] ? values[i + j] : lanes[j];
    }
    float block = kNever;
    for (const float lane : lanes) block = std::max(block, lane);
    for (; i < end; ++i) block = values[i] > block ? values[i] : block;
    if (block > best) {
      best = block;
      best_block = begin;
    }
  }
  for (size_t i = best_block; i < values.size(); ++i) {
    if (values[i] == best) return static_cast<int32_t>(i);
  }
  return 0;
}

}  // namespace

float philox_uniform(uint64_t key, uint64_t counter) {
  std::array<uint32_t, 4> x = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0};
  std::array<uint32_t, 2> k = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * x[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * x[2];
    x = {static_cast<uint32_t>(b >> 32) ^ x[1] ^ k[0], static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ x[3] ^ k[1], static_cast<uint32_t>(a)};
    k[0] += 0x9E3779B9;
    k[1] += 0xBB67AE85;
  }
  return static_cast<float>(x[0] >> 8) * 0x1p-24f;
}

Result<Sampler> Sampler::create(const SamplingParams& params, size_t vocab_size, std::span<const int32_t> prompt_ids,
                                std::span<const int32_t> stop_ids) {
  RETURN_IF_ERROR(validate(params, static_cast<int64_t>(vocab_size)));
  Sampler sampler;
  sampler.params_ = params;
  sampler.seed_ = params.seed.value_or((uint64_t{std::random_device{}()} << 32) | std::random_device{}());
  sampler.stop_ids_.assign(stop_ids.begin(), stop_ids.end());
  sampler.stop_ids_.insert(sampler.stop_ids_.end(), params.stop_token_ids.begin(), params.stop_token_ids.end());
  const bool penalties =
      params.repetition_penalty != 1 || params.frequency_penalty != 0 || params.presence_penalty != 0;
  sampler.plain_ = !penalties && params.logit_bias.empty() && params.min_tokens == 0;
  if (!sampler.plain_ || params.temperature != 0) sampler.logits_.resize(vocab_size);
  if (params.temperature != 0) sampler.candidates_.reserve(vocab_size);
  if (penalties) {
    sampler.seen_.resize(vocab_size);
    sampler.output_counts_.resize(vocab_size);
    sampler.seen_ids_.reserve(vocab_size);
    for (const int32_t id : prompt_ids) {
      if (id < 0 || static_cast<size_t>(id) >= vocab_size || sampler.seen_[static_cast<size_t>(id)] != 0) continue;
      sampler.seen_[static_cast<size_t>(id)] = 1;
      sampler.seen_ids_.push_back(id);
    }
  }
  return sampler;
}

SampledToken Sampler::sample(std::span<const float> logits) {
  SampledToken token;
  if (plain_ && params_.temperature == 0) {
    token.id = argmax(logits);
  } else {
    adjust(logits);
    token.id = params_.temperature == 0 ? argmax(logits_) : draw();
  }
  if (params_.logprobs >= 0) add_logprobs(logits, token);
  ++position_;
  if (!seen_.empty()) {
    const auto i = static_cast<size_t>(token.id);
    if (seen_[i] == 0) seen_ids_.push_back(token.id);
    seen_[i] |= 2;
    ++output_counts_[i];
  }
  return token;
}

void Sampler::adjust(std::span<const float> logits) {
  std::copy(logits.begin(), logits.end(), logits_.begin());
  for (const auto& [id, bias] : params_.logit_bias) logits_[static_cast<size_t>(id)] += bias;
  if (position_ < static_cast<uint64_t>(params_.min_tokens)) {
    for (const int32_t id : stop_ids_) logits_[static_cast<size_t>(id)] = kNever;
  }
  for (const int32_t id : seen_ids_) {
    const auto i = static_cast<size_t>(id);
    float& logit = logits_[i];
    logit = logit > 0 ? logit / params_.repetition_penalty : logit * params_.repetition_penalty;
    logit -= params_.frequency_penalty * static_cast<float>(output_counts_[i]);
    if (output_counts_[i] > 0) logit -= params_.presence_penalty;
  }
}

int32_t Sampler::draw() {
  const int32_t best = argmax(logits_);
  const float top = logits_[static_cast<size_t>(best)];
  if (!(top > kNever)) return best;
  // Relative to the largest, so that exp() cannot overflow. What is below e^-60 of it is never drawn: the 24 bits of
  // the random number do not reach it.
  constexpr float kNegligible = -60;
  candidates_.clear();
  for (size_t i = 0; i < logits_.size(); ++i) {
    const float scaled = (logits_[i] - top) / params_.temperature;
    // min_p comes after top_k and top_p, which keep a prefix of the order by likelihood, as min_p does: applying it
    // first changes top_p's sum, so it is applied at the end; here only what cannot matter goes.
    if (scaled >= kNegligible) candidates_.push_back({scaled, static_cast<int32_t>(i)});
  }
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const size_t k =
      params_.top_k > 0 ? std::min<size_t>(static_cast<size_t>(params_.top_k), candidates_.size()) : candidates_.size();
  if (k < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(k), candidates_.end(),
                     likelier);
    candidates_.resize(k);
  }
  if (params_.top_p < 1) std::sort(candidates_.begin(), candidates_.end(), likelier);
  double sum = 0;
  for (const Candidate& candidate : candidates_) sum += std::exp(double{candidate.logit});
  if (params_.top_p < 1) {
    // The shortest prefix whose probability reaches top_p.
    const double wanted = sum * double{params_.top_p};
    double reached = 0;
    size_t count = 0;
    while (count < candidates_.size() && reached < wanted) reached += std::exp(double{candidates_[count++].logit});
    candidates_.resize(std::max<size_t>(count, 1));
  }
  if (params_.min_p > 0) {
    const float floor = std::log(params_.min_p);
    std::erase_if(candidates_, [floor](const Candidate& candidate) { return candidate.logit < floor; });
  }
  sum = 0;
  for (const Candidate& candidate : candidates_) sum += std::exp(double{candidate.logit});
  double left = sum * double{philox_uniform(seed_, position_)};
  for (const Candidate& candidate : candidates_) {
    left -= std::exp(double{candidate.logit});
    if (left < 0) return candidate.id;
  }
  return candidates_.back().id;
}

void Sampler::add_logprobs(std::span<const float> logits, SampledToken& token) const {
  const float top = logits[static_cast<size_t>(argmax(logits))];
  double sum = 0;
  for (const float logit : logits) {
    if (logit > kNever) sum += std::exp(double{logit} - double{top});
  }
  const double log_sum = double{top} + std::log(sum);
  const auto logprob = [&](size_t id) { return static_cast<float>(double{logits[id]} - log_sum); };
  token.logprob = logprob(static_cast<size_t>(token.id));
  const size_t count = std::min(static_cast<size_t>(params_.logprobs), logits.size());
  std::vector<int32_t> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  const auto likelier = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)];
    const float y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(), likelier);
  for (size_t i = 0; i < count; ++i) token.top_logprobs.emplace_back(order[i], logprob(static_cast<size_t>(order[i])));
}

}  // namespace glimpse
