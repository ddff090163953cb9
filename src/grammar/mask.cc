#include "grammar/mask.h"

#include <algorithm>

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

}  // namespace

std::shared_ptr<TokenMask> make_mask(std::shared_ptr<const Vocabulary>, std::shared_ptr<const Grammar>, MaskOptions) {
  return nullptr;
}

std::shared_ptr<TokenMask> make_fixed_mask(size_t vocab_size, const std::vector<int32_t>& allowed,
                                           const std::vector<int32_t>& stop_ids) {
  return std::make_shared<FixedMask>(vocab_size, allowed, stop_ids);
}

}  // namespace glimpse
