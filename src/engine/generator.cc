#include "engine/generator.h"

#include <algorithm>
#include <numeric>

namespace glimpse {

Generator::Generator(Runner& runner, const Clock& clock) : runner_(runner), clock_(clock) {
  block_ids_.resize(static_cast<size_t>(runner.num_blocks()));
  std::iota(block_ids_.begin(), block_ids_.end(), 0);
  batch_.entries.resize(1);
}

Result<GenerateResult> Generator::generate(const GenerateRequest& request, LatencyAccount& account,
                                           const TokenCallback& on_token) {
  const Prompt& prompt = *request.prompt;
  const int32_t num_prompt = prompt.num_tokens();
  const int32_t max_len = runner_.options().max_model_len;
  if (num_prompt >= max_len) {
    return Error{ErrorCode::kTooLarge, "the prompt has " + std::to_string(num_prompt) + " tokens; the context holds " +
                                           std::to_string(max_len) + ", the answer included"};
  }
  const int32_t max_tokens = std::min(request.max_tokens, max_len - num_prompt);
  const auto vocab = static_cast<size_t>(runner_.config().text.vocab_size);
  ASSIGN_OR_RETURN(Sampler sampler, Sampler::create(request.sampling, vocab, prompt.token_ids, request.stop_token_ids));

  GenerateResult result;
  result.output_ids.reserve(static_cast<size_t>(max_tokens));
  RETURN_IF_ERROR(encode_images(request, account));
  int64_t begin = clock_.now_ns();
  const float* logits = prefill(prompt);
  int64_t end = clock_.now_ns();
  account.record(Span::kPrefill, begin, end);

  while (true) {
    const SampledToken token = sampler.sample({logits, vocab});
    result.output_ids.push_back(token.id);
    const bool is_stop = std::find(request.stop_token_ids.begin(), request.stop_token_ids.end(), token.id) !=
                         request.stop_token_ids.end();
    begin = std::exchange(end, clock_.now_ns());
    const bool first = result.output_ids.size() == 1;
    account.record(first ? Span::kFirstToken : Span::kDecode, begin, end);
    if (is_stop || !on_token(token, {logits, vocab})) {
      result.reason = FinishReason::kStop;
      return result;
    }
    if (static_cast<int32_t>(result.output_ids.size()) == max_tokens) {
      result.reason = FinishReason::kLength;
      return result;
    }
    begin = clock_.now_ns();
    // The token at index k of the sequence has position k + delta (glm-v.md 5.2).
    const int32_t index = num_prompt + static_cast<int32_t>(result.output_ids.size()) - 1;
    logits = decode_step(token.id, index, index + prompt.positions.delta);
    end = begin;  // the next span covers the step and its sampling
  }
}

Status Generator::encode_images(const GenerateRequest& request, LatencyAccount& account) {
  const auto merge = static_cast<int32_t>(runner_.config().vision.spatial_merge_size);
  int32_t row = 0;
  for (const PreparedImage& image : request.images) {
    const int64_t begin = clock_.now_ns();
    RETURN_IF_ERROR(runner_.encode_image(image.pixels, image.grid, row));
    account.record(Span::kVision, begin, clock_.now_ns());
    row += static_cast<int32_t>(image.grid.num_tokens(merge));
  }
  return {};
}

const float* Generator::prefill(const Prompt& prompt) {
  const int32_t total = prompt.num_tokens();
  const float* logits = nullptr;
  for (int32_t begin = 0; begin < total;) {
    const int32_t count = std::min(total - begin, runner_.options().max_num_batched_tokens);
    const auto slice = [&](const std::vector<int32_t>& all) {
      return std::span(all).subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
    };
    BatchEntry& entry = batch_.entries.front();
    entry.token_ids = slice(prompt.token_ids);
    entry.image_rows = slice(prompt.image_rows);
    for (size_t axis = 0; axis < 3; ++axis) entry.positions[axis] = slice(prompt.positions.axes[axis]);
    entry.num_computed = begin;
    begin += count;
    entry.block_ids =
        std::span(block_ids_).first(static_cast<size_t>((begin + runner_.block_size() - 1) / runner_.block_size()));
    entry.wants_logits = begin == total;
    logits = runner_.run(batch_);
  }
  return logits;
}

const float* Generator::decode_step(int32_t token_id, int32_t num_computed, int32_t position) {
  token_id_ = token_id;
  position_ = position;
  BatchEntry& entry = batch_.entries.front();
  entry.token_ids = std::span(&token_id_, 1);
  entry.image_rows = {};
  entry.positions.fill(std::span(&position_, 1));
  entry.num_computed = num_computed;
  entry.block_ids = std::span(block_ids_).first(static_cast<size_t>(num_computed / runner_.block_size() + 1));
  entry.wants_logits = true;
  return runner_.run(batch_);
}

}  // namespace glimpse
