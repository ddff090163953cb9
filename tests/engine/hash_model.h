#pragma once

// A model that is a hash, behind the StepRunner interface: the "keys and values" of a token are a hash of its id, its
// position, its picture's row and the keys and values of the token before it, read through the block table. So whatever
// the engine gets wrong about blocks, rows, positions, slots or ids changes the answer, and what a request answers
// alone is known without any engine.

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "engine/step_runner.h"

namespace glimpse {

inline uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t x = a * 0x9e3779b97f4a7c15u ^ (b + 0x9e3779b97f4a7c15u);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

class FakeClock final : public Clock {
 public:
  int64_t now_ns() const override { return now; }
  int64_t now = 1;
};

// Allows every id but those that are 3 more than the last one was, modulo 7.
class FakeMask final : public TokenMask {
 public:
  explicit FakeMask(int32_t vocab) : vocab_(vocab), words_(static_cast<size_t>(vocab + 63) / 64) {}
  static bool allows(int32_t last, int32_t id) { return (last + 3) % 7 != id % 7; }
  std::span<const uint64_t> allowed() override {
    for (int32_t id = 0; id < vocab_; ++id) {
      uint64_t& word = words_[static_cast<size_t>(id / 64)];
      const uint64_t bit = uint64_t{1} << (id % 64);
      word = allows(last_, id) ? word | bit : word & ~bit;
    }
    return words_;
  }
  void accept(int32_t id) override {
    CHECK(allows(last_, id), last_, id);
    last_ = id;
  }

 private:
  int32_t vocab_;
  int32_t last_ = 0;
  std::vector<uint64_t> words_;
};

class HashModel final : public StepRunner {
 public:
  HashModel(const StepRunnerInfo& info, FakeClock& clock) : info_(info), clock_(clock) {
    kv_.resize(static_cast<size_t>(info.num_blocks * info.block_size));
    rows_.resize(static_cast<size_t>(info.num_image_rows));
    last_ids_.resize(static_cast<size_t>(info.max_num_seqs));
    slots_.resize(static_cast<size_t>(info.max_num_seqs));
  }

  static uint64_t token(uint64_t previous, int32_t id, int32_t position, uint64_t image_row) {
    return mix(mix(mix(previous, static_cast<uint64_t>(id)), static_cast<uint64_t>(position)), image_row);
  }
  static uint64_t row_of(uint8_t first_pixel, int32_t row) { return mix(first_pixel + 1u, static_cast<uint64_t>(row)); }
  // What is drawn after a token; `drawn` ids have been drawn before.
  static int32_t draw(uint64_t kv, size_t drawn, int32_t vocab) {
    return static_cast<int32_t>(mix(kv, drawn) % static_cast<uint64_t>(vocab));
  }

  const StepRunnerInfo& info() const override { return info_; }

  void open_slot(int32_t slot, const SlotSpec& spec) override {
    slots_[static_cast<size_t>(slot)] = {.open = true, .drawn = spec.output_ids.size(), .mask = spec.mask};
  }
  void close_slot(int32_t slot) override {
    CHECK(slots_[static_cast<size_t>(slot)].open, slot);
    slots_[static_cast<size_t>(slot)] = {};
  }

  void submit(const Batch& batch) override {
    CHECK(results_.size() <= static_cast<size_t>(info_.pipeline_depth));
    CHECK(!batch.entries.empty() && batch.entries.size() <= static_cast<size_t>(info_.max_num_seqs));
    Result result;
    int32_t total = 0;
    std::map<int32_t, int> written;  // each place at most once, and by nobody who shares it
    for (const BatchEntry& entry : batch.entries) total += run(entry, written, result);
    CHECK(total <= info_.max_num_batched_tokens, total);
    clock_.now += 1000 + 100 * total;
    results_.push_back(std::move(result));
    ++num_steps;
    num_tokens += total;
  }

  StepResult collect() override {
    CHECK(!results_.empty());
    collected_ = std::move(results_.front());
    results_.pop_front();
    for (size_t i = 0; i < collected_.tokens.size(); ++i) {
      if (collected_.masks[i] != nullptr) collected_.masks[i]->accept(collected_.tokens[i].id);
    }
    return {.tokens = collected_.tokens, .sampling_ns = clock_.now};
  }

  glimpse::Result<DType> prepare_vision() override { return DType::kF32; }

  glimpse::Result<Buffer> allocate_host(size_t) override { return Error{ErrorCode::kUnsupported, "no pixels"}; }

  Status begin_image(const PixelSource& pixels, const GridThw& grid, int32_t first_row) override {
    CHECK(pixels_ == nullptr);
    pixels_ = static_cast<const uint8_t*>(pixels.data);
    if (*pixels_ == kBroken) {
      pixels_ = nullptr;
      return Error{ErrorCode::kResource, "no memory for this picture"};
    }
    image_rows_ = static_cast<int32_t>(grid.num_tokens(info_.spatial_merge_size));
    image_first_ = first_row;
    image_done_ = 0;
    CHECK(first_row >= 0 && first_row + image_rows_ <= info_.num_image_rows, first_row, image_rows_);
    return {};
  }
  VisionProgress advance_image(double) override {
    CHECK(pixels_ != nullptr);
    const auto at = static_cast<size_t>(image_first_ + image_done_);
    rows_[at] = row_of(*pixels_, image_done_);
    clock_.now += 500;
    const bool done = ++image_done_ == image_rows_;
    if (done) pixels_ = nullptr;
    return {.done = done, .flops = 1, .ns = 500};
  }
  void abandon_image() override { pixels_ = nullptr; }
  void read_images(int32_t first_row, int32_t count, std::byte* dst) override {
    ++num_images_read;
    std::memcpy(dst, rows_.data() + first_row, static_cast<size_t>(count) * sizeof(uint64_t));
    std::fill_n(rows_.begin() + first_row, count, 0xdeadu);
  }
  void write_images(int32_t first_row, int32_t count, const std::byte* src) override {
    std::memcpy(rows_.data() + first_row, src, static_cast<size_t>(count) * sizeof(uint64_t));
  }

  static constexpr uint8_t kBroken = 255;
  uint64_t row(int32_t index) const { return rows_[static_cast<size_t>(index)]; }
  int64_t num_images_read = 0;
  int64_t num_steps = 0;
  int64_t num_tokens = 0;

 private:
  struct Slot {
    bool open = false;
    size_t drawn = 0;
    TokenMask* mask = nullptr;
  };
  struct Result {
    std::vector<SampledToken> tokens;
    std::vector<TokenMask*> masks;
  };

  int32_t run(const BatchEntry& entry, std::map<int32_t, int>& written, Result& result) {
    const auto count = static_cast<int32_t>(entry.token_ids.size());
    CHECK(count > 0);
    CHECK(entry.block_ids.size() * static_cast<size_t>(info_.block_size) >=
          static_cast<size_t>(entry.num_computed + count));
    const auto place = [&](int32_t i) {
      return entry.block_ids[static_cast<size_t>(i / info_.block_size)] * info_.block_size + i % info_.block_size;
    };
    uint64_t kv = entry.num_computed == 0 ? 0 : kv_[static_cast<size_t>(place(entry.num_computed - 1))];
    for (int32_t i = 0; i < count; ++i) {
      const auto at = static_cast<size_t>(i);
      const int32_t given = entry.token_ids[at];
      const int32_t id = given >= 0 ? given : last_ids_[static_cast<size_t>(-1 - given)];
      const int32_t row = entry.image_rows.empty() ? -1 : entry.image_rows[at];
      const uint64_t image = row < 0 ? 0 : rows_[static_cast<size_t>(row)];
      kv = token(kv, id, entry.positions[1][at], image);
      const int32_t to = place(entry.num_computed + i);
      CHECK(written[to]++ == 0, to);
      kv_[static_cast<size_t>(to)] = kv;
    }
    if (!entry.wants_logits) return count;
    Slot& slot = slots_[static_cast<size_t>(entry.slot)];
    CHECK(slot.open, entry.slot);
    int32_t id = draw(kv, slot.drawn++, info_.vocab_size);
    if (slot.mask != nullptr) {
      const auto allowed = slot.mask->allowed();
      while ((allowed[static_cast<size_t>(id / 64)] >> (id % 64) & 1) == 0) id = (id + 1) % info_.vocab_size;
    }
    last_ids_[static_cast<size_t>(entry.slot)] = id;
    result.tokens.push_back({.id = id});
    result.masks.push_back(slot.mask);
    return count;
  }

  StepRunnerInfo info_;
  FakeClock& clock_;
  std::vector<uint64_t> kv_;
  std::vector<uint64_t> rows_;
  std::vector<int32_t> last_ids_;
  std::vector<Slot> slots_;
  std::deque<Result> results_;
  Result collected_;
  const uint8_t* pixels_ = nullptr;
  int32_t image_rows_ = 0;
  int32_t image_first_ = 0;
  int32_t image_done_ = 0;
};

}  // namespace glimpse
