#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace glimpse {

// Which tokens can be read from one place of a rule on, without regard to who called the rule.
struct LocalMask {
  std::vector<uint64_t> bits;    // of the tokens read to their end within the rule; or, where they are few,
  std::vector<int32_t> ids;      // their list
  std::vector<uint32_t> leaves;  // nodes of the vocabulary at which the rule is complete but tokens go on
};

// Bounded: it forgets everything when it is full.
class MaskCache {
 public:
  std::shared_ptr<const LocalMask> find(uint64_t key) const;
  void put(uint64_t key, std::shared_ptr<const LocalMask> mask);

 private:
  static constexpr size_t kMaxBytes = size_t{8} << 20;
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, std::shared_ptr<const LocalMask>> masks_;
  size_t bytes_ = 0;
};

}  // namespace glimpse
