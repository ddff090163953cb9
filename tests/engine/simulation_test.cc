// The engine's loop over a model that is a hash (hash_model.h), from a seed: thousands of schedules with arrivals,
// cancels, deadlines, tiny pools, pictures, drafts, grammars and shared prefixes, with and without a pipeline. After
// every step the accounting is checked; every request ends exactly once and answers what it answers alone.

#include <gtest/gtest.h>

#include <random>

#include "engine/engine_loop.h"
#include "tests/engine/hash_model.h"

namespace glimpse {
namespace {

constexpr int32_t kVocab = 60;
constexpr int32_t kImageToken = kVocab;
constexpr int32_t kStop = 7;

ImageKey key_of(uint8_t picture) {
  ImageKey key;
  key.sha256.fill(picture);
  return key;
}

// A picture's number is its first pixel; its grid follows from it.
GridThw grid_of(uint8_t picture) {
  return picture == HashModel::kBroken ? GridThw{1, 2, 2} : GridThw{1, 2 + 2 * (picture % 3), 2 + 2 * (picture % 2)};
}

PixelValues pixels_of(uint8_t picture) {
  auto data = std::make_shared<std::vector<std::byte>>(16, std::byte{picture});
  return {.data = std::shared_ptr<const std::byte>(data, data->data()), .bytes = data->size()};
}

struct Plan {
  EngineRequest request;  // without on_event
  std::vector<uint8_t> pictures;
  bool masked = false;
  int64_t arrives_at_step = 0;
  int64_t cancel_at_step = -1;
};

// What the model answers to it when nothing else runs.
std::vector<int32_t> answer_alone(const Plan& plan) {
  uint64_t kv = 0;
  const Prompt& prompt = plan.request.prompt;
  std::vector<uint64_t> rows;
  for (const uint8_t picture : plan.pictures) {
    for (int32_t r = 0; r < grid_of(picture).num_tokens(2); ++r) rows.push_back(HashModel::row_of(picture, r));
  }
  for (size_t i = 0; i < prompt.token_ids.size(); ++i) {
    const int32_t row = prompt.image_rows[i];
    kv = HashModel::token(kv, prompt.token_ids[i], prompt.positions.axes[1][i],
                          row < 0 ? 0 : rows[static_cast<size_t>(row)]);
  }
  std::vector<int32_t> ids;
  int32_t last = 0;
  while (static_cast<int32_t>(ids.size()) < plan.request.max_tokens) {
    int32_t id = HashModel::draw(kv, ids.size(), kVocab);
    while (plan.masked && !FakeMask::allows(last, id)) id = (id + 1) % kVocab;
    last = id;
    ids.push_back(id);
    if (id == kStop) break;
    const int32_t index = prompt.num_tokens() + static_cast<int32_t>(ids.size()) - 1;
    kv = HashModel::token(kv, id, index + prompt.positions.delta, 0);
  }
  return ids;
}

class Simulation {
 public:
  Simulation(uint64_t seed, int depth) : random_(seed) {
    info_ = {.block_size = int32_t{1} << pick(0, 3),
             .num_blocks = 0,
             .block_bytes = 1,
             .max_model_len = 200,
             .max_num_batched_tokens = 0,
             .max_num_seqs = pick(1, 6),
             .vocab_size = kVocab,
             .spatial_merge_size = 2,
             .num_image_rows = pick(8, 24),
             .image_row_bytes = sizeof(uint64_t),
             .pipeline_depth = depth};
    info_.num_blocks = pick(70, 260) / info_.block_size;
    info_.max_num_batched_tokens = info_.max_num_seqs + pick(0, 40);
  }

  void run() {
    HashModel model(info_, clock_);
    EngineLoopOptions options;
    options.max_num_waiting = 100;
    std::vector<std::byte> host_memory(static_cast<size_t>(pick(0, 1)) * 200);
    options.vision.host_memory = host_memory;
    options.check_integrity = true;
    EngineLoop loop(model, clock_, options, nullptr);
    make_plans();
    std::vector<Outcome> outcomes(plans_.size());
    std::vector<uint64_t> ids(plans_.size());
    size_t next = 0;
    int64_t step = 0;
    const int64_t limit = 20'000;
    for (; next < plans_.size() || loop.has_work(); ++step) {
      ASSERT_LT(step, limit) << "somebody starves";
      for (; next < plans_.size() && plans_[next].arrives_at_step <= step; ++next) {
        ids[next] = next + 1;
        submit(loop, plans_[next], next + 1, outcomes[next]);
      }
      for (size_t i = 0; i < next; ++i) {
        if (plans_[i].cancel_at_step == step) loop.cancel(ids[i]);
      }
      if (!loop.step()) clock_.now += 1000;
    }
    for (size_t i = 0; i < plans_.size(); ++i) check(plans_[i], outcomes[i], i);
    const EngineStats stats = loop.stats();
    EXPECT_EQ(stats.num_blocks_used, 0);
    EXPECT_EQ(stats.num_running + stats.num_waiting + stats.num_drafts, 0);
  }

 private:
  struct Outcome {
    std::vector<int32_t> ids;
    std::optional<FinishReason> finish;
    int num_finishes = 0;
    int64_t spans_end = 0;
  };

  int32_t pick(int32_t low, int32_t high) { return std::uniform_int_distribution<int32_t>(low, high)(random_); }
  bool chance(double p) { return std::bernoulli_distribution(p)(random_); }

  void make_plans() {
    const int count = pick(1, 14);
    int64_t step = 0;
    for (int i = 0; i < count; ++i) {
      Plan plan;
      step += chance(0.5) ? 0 : pick(0, 12);
      plan.arrives_at_step = step;
      if (chance(0.15)) plan.cancel_at_step = step + pick(0, 40);
      EngineRequest& request = plan.request;
      request.id = std::to_string(i);
      make_prompt(plan, i);
      const int32_t room = info_.num_blocks * info_.block_size - request.prompt.num_tokens();
      request.max_tokens = chance(0.15) ? 0 : std::min(room, pick(1, 40));
      request.priority = request.max_tokens == 0 ? Priority::kDraft
                         : chance(0.7)           ? Priority::kInteractive
                                                 : Priority::kBackground;
      request.stop_token_ids = {kStop};
      request.arrival_ns = plan.arrives_at_step * 1000 + i;
      if (chance(0.1)) request.deadline_ns = clock_.now + pick(1, 400) * 1000;
      if (chance(0.3)) request.cache_salt = "other";
      plan.masked = request.max_tokens > 0 && chance(0.2);
      plans_.push_back(std::move(plan));
    }
  }

  // Prompts share beginnings now and then, and their pictures often.
  void make_prompt(Plan& plan, int index) {
    Prompt& prompt = plan.request.prompt;
    const int32_t longest = std::min(60, info_.num_blocks * info_.block_size - 2);
    if (index > 0 && chance(0.4)) {
      const Plan& other = plans_[static_cast<size_t>(pick(0, index - 1))];
      prompt = other.request.prompt;
      plan.pictures = other.pictures;
      plan.request.cache_salt = other.request.cache_salt;
    }
    const int32_t more = pick(prompt.token_ids.empty() ? 1 : 0, 30);
    for (int32_t i = 0; i < more; ++i) {
      if (chance(0.06) && info_.num_image_rows >= 6) {
        const auto picture = static_cast<uint8_t>(chance(0.02) ? HashModel::kBroken : pick(1, 12));
        const auto tokens = static_cast<int32_t>(grid_of(picture).num_tokens(2));
        if (prompt.num_tokens() + tokens + 1 > longest) continue;
        for (int32_t k = 0; k < tokens; ++k) {
          prompt.token_ids.push_back(kImageToken);
          prompt.image_rows.push_back(rows_of(plan) + k);
        }
        plan.pictures.push_back(picture);
        prompt.grids.push_back(grid_of(picture));
      }
      if (prompt.num_tokens() + 1 > longest) break;
      prompt.token_ids.push_back(pick(0, kVocab - 1));
      prompt.image_rows.push_back(-1);
    }
    // Positions need not be those of M-RoPE, but as there they follow from what lies before, answers included.
    prompt.positions.delta = 17;
    for (auto& axis : prompt.positions.axes) {
      axis.clear();
      for (int32_t i = 0; i < prompt.num_tokens(); ++i) axis.push_back(i + 17);
    }
  }

  static int32_t rows_of(const Plan& plan) {
    int32_t rows = 0;
    for (const uint8_t picture : plan.pictures) rows += static_cast<int32_t>(grid_of(picture).num_tokens(2));
    return rows;
  }

  void submit(EngineLoop& loop, const Plan& plan, uint64_t id, Outcome& outcome) {
    EngineRequest request = plan.request;
    for (const uint8_t picture : plan.pictures) {
      ImageRef image = loop.vision().find(key_of(picture));
      if (image == nullptr) {
        auto added = loop.vision().add(key_of(picture), grid_of(picture), pixels_of(picture), request.priority, {});
        ASSERT_TRUE(added) << added.error().message;
        image = *added;
      }
      request.images.push_back(image);
    }
    if (plan.masked) request.token_mask = std::make_shared<FakeMask>(kVocab);
    outcome.spans_end = clock_.now;
    request.on_event = [this, &outcome](EngineEvent event) {
      for (const SampledToken& token : event.tokens) outcome.ids.push_back(token.id);
      for (const SpanRecord& span : event.spans) {
        EXPECT_EQ(span.begin_ns, outcome.spans_end) << "the account has a gap";
        outcome.spans_end = span.end_ns;
      }
      if (event.finish) {
        outcome.finish = event.finish;
        ++outcome.num_finishes;
        EXPECT_EQ(outcome.spans_end, clock_.now);
      }
    };
    auto active = make_active(std::move(request), info_, "model", clock_.now);
    ASSERT_TRUE(active) << active.error().message;
    (*active)->id = id;
    loop.add(*std::move(active));
  }

  static void check(const Plan& plan, const Outcome& outcome, size_t index) {
    ASSERT_EQ(outcome.num_finishes, 1) << "request " << index;
    const std::vector<int32_t> alone = answer_alone(plan);
    ASSERT_LE(outcome.ids.size(), alone.size());
    ASSERT_TRUE(std::equal(outcome.ids.begin(), outcome.ids.end(), alone.begin()))
        << "request " << index << (plan.masked ? " masked" : "") << ", prompt of " << plan.request.prompt.num_tokens()
        << " tokens, " << plan.pictures.size() << " pictures: " << testing::PrintToString(outcome.ids) << " for "
        << testing::PrintToString(alone);
    const bool whole = outcome.ids.size() == alone.size();
    const bool broken = std::count(plan.pictures.begin(), plan.pictures.end(), HashModel::kBroken) > 0;
    switch (*outcome.finish) {
      case FinishReason::kStop:
        ASSERT_TRUE(whole && alone.back() == kStop) << "request " << index;
        break;
      case FinishReason::kLength:
        ASSERT_TRUE(whole) << "request " << index;
        ASSERT_TRUE(alone.empty() || alone.back() != kStop);
        break;
      case FinishReason::kCancelled:  // drafts also when there is no room for them
        ASSERT_TRUE(plan.cancel_at_step >= 0 || plan.request.max_tokens == 0) << "request " << index;
        break;
      case FinishReason::kDeadline:
        ASSERT_TRUE(plan.request.deadline_ns) << "request " << index;
        break;
      case FinishReason::kFailed:
        ASSERT_TRUE(broken) << "request " << index;
        break;
    }
  }

  std::mt19937_64 random_;
  FakeClock clock_;
  StepRunnerInfo info_;
  std::vector<Plan> plans_;
};

class SimulationTest : public testing::TestWithParam<int> {};

TEST_P(SimulationTest, EveryRequestEndsOnceAndAnswersWhatItAnswersAlone) {
  for (uint64_t seed = 0; seed < 10'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Simulation(seed, GetParam()).run();
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(PipelineDepth, SimulationTest, testing::Values(0, 1));

}  // namespace
}  // namespace glimpse
