#pragma once

// Where a text stands in a grammar, and how it can go on.

#include <cstdint>
#include <memory>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/vocabulary.h"

namespace glimpse {

// One thread at a time.
class Matcher {
 public:
  Matcher(std::shared_ptr<const Vocabulary> vocabulary, std::shared_ptr<const Grammar> grammar);

  // Whether the text so far is complete.
  bool can_end() const { return now_.ended; }
  // Sets the bit of every token that can come next; leaves others alone. `mask` has vocabulary.num_words() words.
  void add_allowed(std::vector<uint64_t>& mask);
  // Reads bytes. False, and nothing changed, if they are not possible.
  bool accept(std::string_view bytes);

 private:
  // A rule being read: the state in it, what it has counted, and whom to return to.
  struct Config {
    int32_t state;
    uint32_t count;
    int32_t parent;  // index of a frame, or kRoot, kBase
    bool operator==(const Config&) const = default;
  };
  // A caller that waits: the state it goes on in.
  using Frame = Config;
  static constexpr int32_t kRoot = -1;
  static constexpr int32_t kBase = -2;  // whoever called: see LocalMask

  struct Set {
    std::vector<Config> configs;  // those that can read a byte
    bool ended = false;           // the root rule is complete
    bool left = false;            // the rule at kBase is complete

    void clear() {
      configs.clear();
      ended = left = false;
    }
    bool alive() const { return !configs.empty() || ended || left; }
  };

  bool enter(const Config& from, int32_t to, Config& made) const;
  void add(Config config, Set& to);
  void step(const Set& from, uint8_t byte, Set& to);
  int32_t frame(const Frame& made);
  template <typename OnNode>
  void walk(uint32_t node, const Set& from, OnNode&& on_node);
  std::shared_ptr<const LocalMask> local(const Config& config);
  LocalMask compute(const Config& config);
  void compact();

  std::shared_ptr<const Vocabulary> vocabulary_;
  std::shared_ptr<const Grammar> grammar_;
  std::vector<Frame> frames_;
  size_t num_compacted_ = 0;
  Set now_;
  Set next_;
  std::vector<Config> open_;
  std::vector<Config> seen_;
  std::vector<Set> path_;            // of a walk, by depth
  std::vector<size_t> path_frames_;  // frames that path_[i] needs
};

}  // namespace glimpse
