#include "grammar/mask.h"

#include <algorithm>
#include <string>

#include "grammar/matcher.h"

namespace glimpse {

namespace {

class FixedMask final : public TokenMask {
 public:
  FixedMask(size_t vocab_size, const std::vector<int32_t>& allowed, const std::vector<int32_t>& stop_ids)
      : words_((vocab_size + 63) / 64) {
    for (const auto* ids : {&allowed, &stop_ids}) {
      for (const int32_t id : *ids) {
        if (id < 0 || static_cast<size_t>(id) >= vocab_size) continue;
        words_[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
      }
    }
  }
  std::span<const uint64_t> allowed() override { return words_; }
  void accept(int32_t) override {}

 private:
  std::vector<uint64_t> words_;
};

constexpr std::string_view kEndThink = "</think>";
constexpr int kMaxLeadingNewlines = 4;

// Reasoning first, if any; then newlines, if any; then the grammar's text.
class GrammarMask final : public TokenMask {
 public:
  GrammarMask(std::shared_ptr<const Vocabulary> vocabulary, std::shared_ptr<const Grammar> grammar, MaskOptions options)
      : vocabulary_(std::move(vocabulary)),
        options_(std::move(options)),
        matcher_(vocabulary_, std::move(grammar)),
        phase_(options_.starts_in_reasoning ? Phase::kReasoning : Phase::kStart),
        words_(vocabulary_->num_words()) {
    std::erase_if(options_.stop_ids,
                  [&](int32_t id) { return id < 0 || static_cast<size_t>(id) >= vocabulary_->size(); });
  }

  std::span<const uint64_t> allowed() override {
    if (fresh_) return words_;
    fresh_ = true;
    if (phase_ == Phase::kReasoning) {
      std::fill(words_.begin(), words_.end(), ~uint64_t{0});
      for (const int32_t id : options_.stop_ids) clear(id);
      return words_;
    }
    std::fill(words_.begin(), words_.end(), 0);
    matcher_.add_allowed(words_);
    for (const int32_t id : options_.stop_ids) clear(id);
    if (phase_ == Phase::kStart || phase_ == Phase::kAnswerStart) {
      if (options_.leading_newlines && num_newlines_ < kMaxLeadingNewlines) {
        for (const int32_t id : newline_ids()) set(id);
      }
      if (phase_ == Phase::kStart && options_.may_think && options_.think_id >= 0) set(options_.think_id);
    }
    const bool stuck = std::all_of(words_.begin(), words_.end(), [](uint64_t word) { return word == 0; });
    if (matcher_.can_end() || stuck) {
      for (const int32_t id : options_.stop_ids) set(id);
      if (stuck && options_.stop_ids.empty()) std::fill(words_.begin(), words_.end(), ~uint64_t{0});
    }
    return words_;
  }

  void accept(int32_t token_id) override {
    fresh_ = false;
    if (token_id < 0 || static_cast<size_t>(token_id) >= vocabulary_->size()) return;
    const std::string_view bytes = vocabulary_->bytes(token_id);
    if (phase_ == Phase::kReasoning) {
      tail_ += bytes;
      if (token_id == options_.end_think_id || tail_.find(kEndThink) != std::string::npos) {
        phase_ = Phase::kAnswerStart;
      }
      if (tail_.size() > kEndThink.size()) tail_.erase(0, tail_.size() - kEndThink.size());
      return;
    }
    if (matcher_.accept(bytes)) {
      if (!bytes.empty()) phase_ = Phase::kAnswer;
      return;
    }
    if (phase_ == Phase::kStart && options_.may_think && token_id == options_.think_id) {
      phase_ = Phase::kReasoning;
    } else if (bytes.find_first_not_of('\n') == std::string_view::npos) {
      ++num_newlines_;
    }
  }

 private:
  enum class Phase { kStart, kReasoning, kAnswerStart, kAnswer };

  void set(int32_t id) { words_[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64); }
  void clear(int32_t id) { words_[static_cast<size_t>(id) / 64] &= ~(uint64_t{1} << (id % 64)); }

  // Tokens of one or two newlines.
  std::vector<int32_t> newline_ids() const {
    std::vector<int32_t> ids;
    const auto nodes = vocabulary_->nodes();
    for (uint32_t i = 1; i < nodes.size(); i = nodes[i].byte == '\n' && nodes[i].depth < 2 ? i + 1 : nodes[i].end) {
      if (nodes[i].byte != '\n') continue;
      for (const int32_t id : vocabulary_->ids().subspan(nodes[i].first_id, nodes[i].num_ids)) ids.push_back(id);
    }
    return ids;
  }

  std::shared_ptr<const Vocabulary> vocabulary_;
  MaskOptions options_;
  Matcher matcher_;
  Phase phase_;
  int num_newlines_ = 0;
  std::string tail_;  // of the reasoning, for a "</think>" spelled in pieces
  std::vector<uint64_t> words_;
  bool fresh_ = false;  // words_ are those of the present place
};

}  // namespace

std::shared_ptr<TokenMask> make_mask(std::shared_ptr<const Vocabulary> vocabulary,
                                     std::shared_ptr<const Grammar> grammar, MaskOptions options) {
  return std::make_shared<GrammarMask>(std::move(vocabulary), std::move(grammar), std::move(options));
}

std::shared_ptr<TokenMask> make_fixed_mask(size_t vocab_size, const std::vector<int32_t>& allowed,
                                           const std::vector<int32_t>& stop_ids) {
  return std::make_shared<FixedMask>(vocab_size, allowed, stop_ids);
}

}  // namespace glimpse
