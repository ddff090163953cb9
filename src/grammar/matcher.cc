#include "grammar/matcher.h"

#include <algorithm>

namespace glimpse {

namespace {

// Ambiguous grammars are followed in so many ways at most: enough for any schema, and hostile ones stay cheap.
constexpr size_t kMaxConfigs = 512;
constexpr size_t kFramesBeforeCompacting = 4096;  // beside twice those that were left the last time

void set_bit(std::vector<uint64_t>& mask, int32_t id) {
  mask[static_cast<size_t>(id) / 64] |= uint64_t{1} << (static_cast<size_t>(id) % 64);
}

}  // namespace

Matcher::Matcher(std::shared_ptr<const Vocabulary> vocabulary, std::shared_ptr<const Grammar> grammar)
    : vocabulary_(std::move(vocabulary)), grammar_(std::move(grammar)) {
  path_.resize(vocabulary_->longest() + 2);
  path_frames_.resize(vocabulary_->longest() + 2);
  seen_.clear();
  add({grammar_->start(), 0, kRoot}, now_);
}

// The place in `to`, if what its rule counts allows to go there.
bool Matcher::enter(const Config& from, int32_t to, Config& made) const {
  const Grammar::State& state = grammar_->state(to);
  uint32_t count = from.count;
  if (state.below_max && count >= grammar_->max_count(state)) return false;
  if (state.from_min && count < grammar_->min_count(state)) return false;
  // An unbounded rule counts no further than it has to, so that places are the same again.
  if (state.counts && (grammar_->max_count(state) != RuleDfa::kUnbounded || count < grammar_->min_count(state)))
    ++count;
  made = {to, count, from.parent};
  return true;
}

int32_t Matcher::frame(const Frame& made) {
  const size_t first = frames_.size() > 8 ? frames_.size() - 8 : 0;
  for (size_t i = frames_.size(); i-- > first;) {
    if (frames_[i] == made) return static_cast<int32_t>(i);
  }
  frames_.push_back(made);
  return static_cast<int32_t>(frames_.size()) - 1;
}

// Adds a place and all that are reached from it without reading: rules called, callers returned to. `seen_` holds
// what was added to this set before.
void Matcher::add(Config config, Set& to) {
  open_.push_back(config);
  while (!open_.empty()) {
    const Config at = open_.back();
    open_.pop_back();
    const Grammar::State& state = grammar_->state(at.state);
    const bool plain = state.num_calls == 0 && !state.accepts;
    const std::vector<Config>& before = plain ? to.configs : seen_;
    if (std::find(before.begin(), before.end(), at) != before.end()) continue;
    if (!plain) seen_.push_back(at);
    if (to.configs.size() + seen_.size() > kMaxConfigs) continue;
    if (state.num_ranges > 0) to.configs.push_back(at);
    if (state.accepts) {
      if (at.parent == kRoot) {
        to.ended = true;
      } else if (at.parent == kBase) {
        to.left = true;
      } else {
        const Frame& caller = frames_[static_cast<size_t>(at.parent)];
        if (Config back; enter(caller, caller.state, back)) open_.push_back(back);
      }
    }
    for (const Grammar::Call& call : grammar_->calls(state)) {
      open_.push_back({grammar_->start_of(call.rule), 0, frame({call.to, at.count, at.parent})});
    }
  }
}

void Matcher::step(const Set& from, uint8_t byte, Set& to) {
  to.clear();
  if (from.configs.size() == 1) {  // nearly always, inside a string or a word
    const Config& only = from.configs[0];
    const int32_t next = grammar_->next(grammar_->state(only.state), byte);
    if (next < 0) return;
    if (grammar_->state(next).plain) {
      to.configs.push_back({next, only.count, only.parent});
      return;
    }
  }
  seen_.clear();
  for (const Config& config : from.configs) {
    const int32_t next = grammar_->next(grammar_->state(config.state), byte);
    if (next < 0) continue;
    if (Config made; enter(config, next, made)) add(made, to);
  }
}

bool Matcher::accept(std::string_view bytes) {
  const size_t num_frames = frames_.size();
  Set before = now_;
  for (const char c : bytes) {
    step(now_, static_cast<uint8_t>(c), next_);
    std::swap(now_, next_);
    if (!now_.alive()) {
      now_ = std::move(before);
      frames_.resize(num_frames);
      return false;
    }
  }
  if (frames_.size() > kFramesBeforeCompacting + 2 * num_compacted_) compact();
  return true;
}

// Calls on_node(index, set) for each node below `node` that the set `from` leads to; it returns whether to go deeper.
template <typename OnNode>
void Matcher::walk(uint32_t node, const Set& from, OnNode&& on_node) {
  const auto nodes = vocabulary_->nodes();
  const size_t base = nodes[node].depth;
  path_[0].configs = from.configs;
  path_frames_[0] = frames_.size();
  for (uint32_t i = node + 1; i < nodes[node].end;) {
    const Vocabulary::Node& at = nodes[i];
    const size_t depth = at.depth - base;
    frames_.resize(path_frames_[depth - 1]);
    step(path_[depth - 1], at.byte, path_[depth]);
    path_frames_[depth] = frames_.size();
    if (!path_[depth].alive()) {
      i = at.end;
      continue;
    }
    on_node(i, path_[depth]);
    i = path_[depth].configs.empty() ? at.end : i + 1;
  }
  frames_.resize(path_frames_[0]);
}

LocalMask Matcher::compute(const Config& config) {
  LocalMask mask;
  std::vector<int32_t> ids;
  Set from;
  from.configs.push_back({config.state, config.count, kBase});
  const auto nodes = vocabulary_->nodes();
  walk(0, from, [&](uint32_t index, const Set& set) {
    const Vocabulary::Node& node = nodes[index];
    const auto here = vocabulary_->ids().subspan(node.first_id, node.num_ids);
    ids.insert(ids.end(), here.begin(), here.end());
    if (set.left && node.end > index + 1) mask.leaves.push_back(index);
  });
  if (ids.size() < vocabulary_->num_words()) {
    mask.ids = std::move(ids);
    return mask;
  }
  mask.bits.resize(vocabulary_->num_words());
  for (const int32_t id : ids) set_bit(mask.bits, id);
  return mask;
}

// A counted rule looks the same from far below its bounds.
std::shared_ptr<const LocalMask> Matcher::local(const Config& config) {
  const Grammar::State& state = grammar_->state(config.state);
  uint64_t key = static_cast<uint64_t>(config.state);
  if (grammar_->is_counted(state)) {
    const auto far = static_cast<uint32_t>(std::min<size_t>(vocabulary_->longest() + 1, 0xFFFF));
    const uint32_t least = grammar_->min_count(state);
    const uint32_t most = grammar_->max_count(state);
    const uint64_t missing = std::min(far, least > config.count ? least - config.count : 0);
    const uint64_t left = std::min(far, most - config.count);
    key |= missing << 32 | left << 48;
  }
  const bool shared = static_cast<size_t>(config.state) < grammar_->num_shared_states();
  MaskCache& cache = shared ? vocabulary_->shared_masks() : grammar_->masks();
  if (auto found = cache.find(key)) return found;
  auto made = std::make_shared<const LocalMask>(compute(config));
  cache.put(key, made);
  return made;
}

void Matcher::add_allowed(std::vector<uint64_t>& mask) {
  const auto nodes = vocabulary_->nodes();
  Set after;
  for (const Config& config : now_.configs) {
    const std::shared_ptr<const LocalMask> allowed = local(config);
    for (size_t i = 0; i < allowed->bits.size(); ++i) mask[i] |= allowed->bits[i];
    for (const int32_t id : allowed->ids) set_bit(mask, id);
    if (config.parent < 0 || allowed->leaves.empty()) continue;
    // Tokens that go on behind the rule's end: read by whoever called it.
    const size_t num_frames = frames_.size();
    const Frame caller = frames_[static_cast<size_t>(config.parent)];
    after.clear();
    seen_.clear();
    if (Config back; enter(caller, caller.state, back)) add(back, after);
    if (!after.configs.empty()) {
      for (const uint32_t leaf : allowed->leaves) {
        walk(leaf, after, [&](uint32_t index, const Set&) {
          const Vocabulary::Node& node = nodes[index];
          for (const int32_t id : vocabulary_->ids().subspan(node.first_id, node.num_ids)) set_bit(mask, id);
        });
      }
    }
    frames_.resize(num_frames);
  }
}

// Keeps the frames that are still waited in.
void Matcher::compact() {
  std::vector<int32_t> place(frames_.size(), -1);
  for (const Config& config : now_.configs) {
    for (int32_t at = config.parent; at >= 0 && place[static_cast<size_t>(at)] < 0;
         at = frames_[static_cast<size_t>(at)].parent) {
      place[static_cast<size_t>(at)] = 0;
    }
  }
  std::vector<Frame> kept;
  for (size_t i = 0; i < frames_.size(); ++i) {  // callers stand before those they called
    if (place[i] < 0) continue;
    Frame moved = frames_[i];
    if (moved.parent >= 0) moved.parent = place[static_cast<size_t>(moved.parent)];
    place[i] = static_cast<int32_t>(kept.size());
    kept.push_back(moved);
  }
  for (Config& config : now_.configs) {
    if (config.parent >= 0) config.parent = place[static_cast<size_t>(config.parent)];
  }
  frames_ = std::move(kept);
  num_compacted_ = frames_.size();
}

}  // namespace glimpse
