#include "sampling/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <iterator>
#include <limits>
#include <random>

#include "base/check.h"
#include "sampling/weights.h"

namespace glimpse {

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// Where to look for the likeliest tokens: nearly always the first of these suffices, and it passes a few dozen.
constexpr std::array<float, 4> kLookDown = {-4, -8, -16, kNegligibleLogit};

bool is_allowed(std::span<const uint64_t> allowed, int32_t id) {
  const auto i = static_cast<size_t>(id);
  return i / 64 < allowed.size() && (allowed[i / 64] >> (i % 64) & 1) != 0;
}

int32_t first_allowed(std::span<const uint64_t> allowed) {
  for (size_t word = 0; word < allowed.size(); ++word) {
    if (allowed[word] != 0) return static_cast<int32_t>(word * 64) + std::countr_zero(allowed[word]);
  }
  CHECK(false, allowed.size());
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
  // A checkpoint's own may lie outside the vocabulary; then there is no logit to mask.
  std::copy_if(stop_ids.begin(), stop_ids.end(), std::back_inserter(sampler.stop_ids_),
               [&](int32_t id) { return id >= 0 && static_cast<size_t>(id) < vocab_size; });
  sampler.stop_ids_.insert(sampler.stop_ids_.end(), params.stop_token_ids.begin(), params.stop_token_ids.end());
  const bool penalties =
      params.repetition_penalty != 1 || params.frequency_penalty != 0 || params.presence_penalty != 0;
  sampler.plain_ = !penalties && params.logit_bias.empty() && params.min_tokens == 0;
  sampler.vocab_size_ = vocab_size;
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

SampledToken Sampler::sample(std::span<const float> logits, SamplerScratch& scratch,
                             std::span<const uint64_t> allowed) {
  scratch_ = &scratch;
  const size_t padded = padded_to_block(vocab_size_);
  if (scratch.logits.size() != padded) {
    scratch.logits.resize(padded);
    scratch.weights.resize(padded);
    scratch.block_sums.resize(padded / kWeightBlock);
    scratch.candidates.reserve(vocab_size_);
  }
  SampledToken token;
  if (plain_ && params_.temperature == 0 && allowed.empty()) {
    token.id = argmax(logits);
  } else {
    adjust(logits, allowed);
    token.id = params_.temperature == 0 ? argmax(std::span(scratch.logits).first(vocab_size_)) : draw();
    // Broken logits must not lead out of the grammar either.
    if (!allowed.empty() && !is_allowed(allowed, token.id)) token.id = first_allowed(allowed);
  }
  if (params_.logprobs >= 0) add_logprobs(logits, token);
  remember(token.id);
  return token;
}

void Sampler::resume(std::span<const int32_t> output_ids) {
  for (const int32_t id : output_ids) remember(id);
}

void Sampler::remember(int32_t id) {
  ++position_;
  if (seen_.empty()) return;
  const auto i = static_cast<size_t>(id);
  if (seen_[i] == 0) seen_ids_.push_back(id);
  seen_[i] |= 2;
  ++output_counts_[i];
}

void Sampler::adjust(std::span<const float> logits, std::span<const uint64_t> allowed) {
  std::vector<float>& logits_ = scratch_->logits;
  std::fill(std::copy(logits.begin(), logits.end(), logits_.begin()), logits_.end(), kNever);
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
  for (size_t word = 0; word < allowed.size() && word * 64 < vocab_size_; ++word) {
    if (~allowed[word] == 0) continue;
    const size_t end = std::min(vocab_size_, word * 64 + 64);
    for (size_t i = word * 64; i < end; ++i) {
      if ((allowed[word] >> (i % 64) & 1) == 0) logits_[i] = kNever;
    }
  }
  if (!allowed.empty() && allowed.size() * 64 < vocab_size_) {
    std::fill(logits_.begin() + static_cast<std::ptrdiff_t>(allowed.size() * 64), logits_.end(), kNever);
  }
}

int32_t Sampler::draw() {
  const int32_t best =
      argmax(std::span(scratch_->logits).first(vocab_size_));  // not of the padding: they may all be NaN
  const float top = scratch_->logits[static_cast<size_t>(best)];
  if (!std::isfinite(top)) return best;  // an infinite one leaves no chance to others; none at all, no choice
  const bool cut = params_.top_k > 0 || params_.top_p < 1;
  weigh(scratch_->logits, top, params_.temperature, cut ? 0 : params_.min_p, scratch_->weights, scratch_->block_sums);
  return cut ? draw_from_candidates() : draw_from_all();
}

int32_t Sampler::draw_from_all() {
  double left = 0;
  for (const double sum : scratch_->block_sums) left += sum;
  left *= double{philox_uniform(seed_, position_)};
  size_t last = 0;  // rounding may leave a trace at the end: then it is the last one possible
  for (size_t block = 0; block < scratch_->block_sums.size(); ++block) {
    if (scratch_->block_sums[block] == 0) continue;
    if (left >= scratch_->block_sums[block]) {
      left -= scratch_->block_sums[block];
      last = (block + 1) * kWeightBlock - 1;
      continue;
    }
    for (size_t i = block * kWeightBlock; i < (block + 1) * kWeightBlock; ++i) {
      if (scratch_->weights[i] == 0) continue;
      last = i;
      left -= double{scratch_->weights[i]};
      if (left < 0) return static_cast<int32_t>(i);
    }
    break;
  }
  while (last > 0 && scratch_->weights[last] == 0) --last;
  return static_cast<int32_t>(last);
}

// Sets scratch_->candidates to the tokens whose scaled logit is at least `lowest`, by id.
void Sampler::collect(float lowest) {
  scratch_->candidates.clear();
  constexpr size_t kGroup = 16;
  for (size_t begin = 0; begin < scratch_->logits.size(); begin += kGroup) {
    int any = 0;
    for (size_t j = 0; j < kGroup; ++j) any |= static_cast<int>(scratch_->logits[begin + j] >= lowest);
    if (any == 0) continue;
    for (size_t i = begin; i < begin + kGroup; ++i) {
      if (scratch_->logits[i] >= lowest) scratch_->candidates.push_back({scratch_->logits[i], static_cast<int32_t>(i)});
    }
  }
}

// top_k and top_p each keep a beginning of the order by likelihood, so together they end at one token. min_p only
// looks at what is left, and the largest weight is 1.
int32_t Sampler::draw_from_candidates() {
  const auto weight_of = [this](const Candidate& c) { return double{scratch_->weights[static_cast<size_t>(c.id)]}; };
  const auto sum_up = [&] {
    double sum = 0;
    for (const Candidate& candidate : scratch_->candidates) sum += weight_of(candidate);
    return sum;
  };
  double total = 0;
  for (const double sum : scratch_->block_sums) total += sum;
  const bool top_k = params_.top_k > 0;
  for (const float lowest : kLookDown) {
    collect(lowest);
    if (top_k ? scratch_->candidates.size() >= static_cast<size_t>(params_.top_k)
              : sum_up() >= total * double{params_.top_p}) {
      break;
    }
  }
  if (top_k) {
    keep_top_k();
    total = sum_up();
  }
  const Candidate last = last_of_top_p(params_.top_p < 1 ? total * double{params_.top_p} : total * 2);
  collect(last.logit);
  std::erase_if(scratch_->candidates, [&](const Candidate& candidate) {
    return (candidate.logit == last.logit && candidate.id > last.id) ||
           scratch_->weights[static_cast<size_t>(candidate.id)] < params_.min_p;
  });
  double left = sum_up() * double{philox_uniform(seed_, position_)};
  for (const Candidate& candidate : scratch_->candidates) {
    left -= weight_of(candidate);
    if (left < 0) return candidate.id;
  }
  return scratch_->candidates.back().id;
}

namespace {

constexpr auto kLikelier = [](const auto& a, const auto& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
};

}  // namespace

void Sampler::keep_top_k() {
  const size_t k = std::min(static_cast<size_t>(params_.top_k), scratch_->candidates.size());
  std::nth_element(scratch_->candidates.begin(), scratch_->candidates.begin() + static_cast<std::ptrdiff_t>(k) - 1,
                   scratch_->candidates.end(), kLikelier);
  scratch_->candidates.resize(k);
}

// The last token of the shortest beginning of the order by likelihood that weighs at least `wanted`; the unlikeliest
// candidate if all together do not. Halves the range in question until sorting it costs nothing, so a flat distribution
// over the whole vocabulary is no sort of the whole vocabulary.
Sampler::Candidate Sampler::last_of_top_p(double wanted) {
  const auto weight_of = [this](const Candidate& c) { return double{scratch_->weights[static_cast<size_t>(c.id)]}; };
  auto begin = scratch_->candidates.begin();
  auto end = scratch_->candidates.end();
  double reached = 0;
  while (end - begin > 64) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end, kLikelier);
    double half = 0;
    for (auto it = begin; it != middle; ++it) half += weight_of(*it);
    if (reached + half >= wanted) {
      end = middle;
    } else {
      reached += half;
      begin = middle;
    }
  }
  std::sort(begin, end, kLikelier);
  auto last = begin;
  for (reached += weight_of(*last); reached < wanted && last + 1 != end; reached += weight_of(*last)) ++last;
  return *last;
}

// log softmax of the raw logits.
void Sampler::add_logprobs(std::span<const float> logits, SampledToken& token) {
  const float top = logits[static_cast<size_t>(argmax(logits))];
  double log_sum = 0;
  std::fill(std::copy(logits.begin(), logits.end(), scratch_->logits.begin()), scratch_->logits.end(), kNever);
  if (std::isfinite(top)) {
    weigh(scratch_->logits, top, 1, 0, scratch_->weights, scratch_->block_sums);
    for (const double sum : scratch_->block_sums) log_sum += sum;
    log_sum = std::log(log_sum);
  }
  const auto logprob = [&](int32_t id) {
    const float logit = logits[static_cast<size_t>(id)];
    if (!std::isfinite(top)) return logit == top ? 0.0f : kNever;  // all probability is there
    return static_cast<float>(double{logit} - double{top} - log_sum);
  };
  token.logprob = logprob(token.id);
  const size_t wanted = std::min(static_cast<size_t>(params_.logprobs), logits.size());
  if (wanted == 0) return;
  for (const float lowest : kLookDown) {
    collect(lowest);
    if (scratch_->candidates.size() >= wanted) break;
  }
  if (scratch_->candidates.size() <
      wanted) {  // an all but certain token, or broken logits: everything that is a number
    scratch_->candidates.clear();
    for (size_t i = 0; i < logits.size(); ++i) {
      if (!std::isnan(logits[i])) scratch_->candidates.push_back({logits[i], static_cast<int32_t>(i)});
    }
  }
  const size_t count = std::min(wanted, scratch_->candidates.size());
  std::partial_sort(scratch_->candidates.begin(), scratch_->candidates.begin() + static_cast<std::ptrdiff_t>(count),
                    scratch_->candidates.end(), kLikelier);
  for (size_t i = 0; i < count; ++i)
    token.top_logprobs.emplace_back(scratch_->candidates[i].id, logprob(scratch_->candidates[i].id));
}

}  // namespace glimpse
