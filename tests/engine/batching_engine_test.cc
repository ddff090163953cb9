// Many requests at once over a real (tiny) model against each of them alone in the Generator: the same ids, and the
// same log-probabilities to the last bit, whatever was batched, chunked, cached or preempted (docs/numerics.md: on the
// CPU a row's result does not depend on the rows beside it).

#include "engine/batching_engine.h"

#include <time.h>

#include <atomic>
#include <future>
#include <thread>

#include "engine/generator.h"
#include "engine/host_step_runner.h"
#include "tests/engine/tiny_model.h"

namespace glimpse {
namespace {

struct Answer {
  std::vector<SampledToken> tokens;
  FinishReason finish = FinishReason::kFailed;
  int32_t num_cached = 0;
  std::string error;
};

struct Question {
  Prompt prompt;
  std::vector<uint32_t> pictures;  // seeds
  SamplingParams sampling;
  int32_t max_tokens = 24;
};

ImageKey key_of(uint32_t picture) {
  ImageKey key;
  std::memcpy(key.sha256.data(), &picture, sizeof picture);
  return key;
}

class BatchingEngineTest : public testing::Test {
 protected:
  void start(const RunnerOptions& options, BatchingEngineOptions engine_options = {}) {
    runner_ = model_.runner(options);
    steps_ = std::make_unique<HostStepRunner>(*runner_, clock_);
    engine_options.model_key = "tiny";
    engine_options.loop.check_integrity = true;
    engine_ = std::make_unique<BatchingEngine>(*steps_, clock_, engine_options);
  }

  ImageRef picture(uint32_t seed) {
    if (ImageRef known = engine_->find_image(key_of(seed))) return known;
    const auto dtype = engine_->prepare_vision();
    EXPECT_TRUE(dtype);
    auto bytes = std::make_shared<std::vector<std::byte>>(model_.pixels(seed, *dtype));
    const PixelValues pixels{.data = std::shared_ptr<const std::byte>(bytes, bytes->data()), .bytes = bytes->size()};
    auto added = engine_->add_image(key_of(seed), model_.grid, pixels, Priority::kInteractive, {});
    EXPECT_TRUE(added) << added.error().message;
    return *added;
  }

  EngineRequest request_of(const Question& question, std::shared_ptr<std::promise<Answer>> done) {
    EngineRequest request;
    request.id = "q";
    request.prompt = question.prompt;
    for (const uint32_t seed : question.pictures) request.images.push_back(picture(seed));
    request.sampling = question.sampling;
    request.max_tokens = question.max_tokens;
    request.arrival_ns = clock_.now_ns();
    auto answer = std::make_shared<Answer>();
    request.on_event = [done = std::move(done), answer](EngineEvent event) {
      for (SampledToken& token : event.tokens) answer->tokens.push_back(std::move(token));
      if (!event.finish) return;
      answer->finish = *event.finish;
      answer->num_cached = event.num_cached_tokens;
      answer->error = event.error;
      done->set_value(*answer);
    };
    return request;
  }

  std::future<Answer> ask(const Question& question) {
    auto done = std::make_shared<std::promise<Answer>>();
    auto future = done->get_future();
    const auto id = engine_->submit(request_of(question, std::move(done)));
    EXPECT_TRUE(id) << id.error().message;
    return future;
  }

  Answer alone(const Question& question) {
    if (alone_ == nullptr) {
      alone_ = model_.runner({.dtype = DType::kF32, .max_model_len = 1024, .max_num_batched_tokens = 512});
    }
    Generator generator(*alone_, clock_);
    std::vector<std::vector<std::byte>> pixels;
    std::vector<PreparedImage> images;
    for (const uint32_t seed : question.pictures) {
      const auto dtype = alone_->prepare_vision();
      pixels.push_back(model_.pixels(seed, *dtype));
      images.push_back({model_.grid, pixels.back().data()});
    }
    LatencyAccount account(0);
    Answer answer;
    const auto result = generator.generate({.prompt = &question.prompt,
                                            .images = images,
                                            .sampling = question.sampling,
                                            .max_tokens = question.max_tokens},
                                           account, [&](const SampledToken& token, std::span<const float>) {
                                             answer.tokens.push_back(token);
                                             return true;
                                           });
    EXPECT_TRUE(result) << result.error().message;
    answer.finish = result->reason;
    return answer;
  }

  static void expect_same(const Answer& got, const Answer& expected) {
    ASSERT_EQ(got.finish, expected.finish) << got.error;
    ASSERT_EQ(got.tokens.size(), expected.tokens.size());
    for (size_t i = 0; i < got.tokens.size(); ++i) {
      ASSERT_EQ(got.tokens[i].id, expected.tokens[i].id) << "token " << i;
      ASSERT_EQ(got.tokens[i].logprob, expected.tokens[i].logprob) << "token " << i;
      ASSERT_EQ(got.tokens[i].top_logprobs, expected.tokens[i].top_logprobs) << "token " << i;
    }
  }

  std::vector<Question> questions() const {
    std::vector<Question> all;
    const SamplingParams greedy{.temperature = 0, .logprobs = 3};
    const SamplingParams drawn{.temperature = 0.8f, .top_p = 0.9f, .seed = 5, .logprobs = 2};
    const SamplingParams penalised{.temperature = 0.5f,
                                   .repetition_penalty = 1.2f,
                                   .presence_penalty = 0.4f,
                                   .seed = 6,
                                   .logit_bias = {{3, 2.0f}, {9, -100.0f}},
                                   .logprobs = 1};
    for (uint32_t i = 0; i < 12; ++i) {
      Question question;
      question.sampling = i % 3 == 0 ? greedy : i % 3 == 1 ? drawn : penalised;
      if (i % 4 == 3) {
        question.prompt = model_.image_prompt();
        question.pictures = {i % 8};
      } else {
        question.prompt = model_.text_prompt(static_cast<int>(20 + 17 * i), i, 70);
      }
      question.max_tokens = static_cast<int32_t>(5 + 7 * i);
      all.push_back(std::move(question));
    }
    return all;
  }

  TinyModel model_;
  SteadyClock clock_;
  std::unique_ptr<Runner> runner_;
  std::unique_ptr<Runner> alone_;
  std::unique_ptr<HostStepRunner> steps_;
  std::unique_ptr<BatchingEngine> engine_;
};

TEST_F(BatchingEngineTest, ManyAtOnceAnswerWhatEachAnswersAlone) {
  // A pool that all of them together do not fit, chunks that cut blocks and pictures.
  start({.dtype = DType::kF32,
         .max_model_len = 512,
         .max_num_batched_tokens = 23,
         .max_num_seqs = 5,
         .num_kv_tokens = 320,
         .num_image_rows = 64});
  const auto all = questions();
  for (int round = 0; round < 2; ++round) {
    std::vector<std::future<Answer>> answers;
    for (const Question& question : all) answers.push_back(ask(question));
    for (size_t i = 0; i < all.size(); ++i) {
      SCOPED_TRACE("round " + std::to_string(round) + " question " + std::to_string(i));
      expect_same(answers[i].get(), alone(all[i]));
    }
  }
  const EngineStats stats = engine_->stats();
  EXPECT_GT(stats.preemptions, 0);
  EXPECT_GT(stats.prefix_hits_tokens, 0);
  EXPECT_GT(stats.image_hits, 0);
  EXPECT_EQ(stats.images_encoded, 2);
}

TEST_F(BatchingEngineTest, ARepeatedPromptComesFromThePrefixCacheAndADraftFillsIt) {
  start({.dtype = DType::kF32, .max_model_len = 512, .max_num_batched_tokens = 64, .max_num_seqs = 4});
  Question question{.prompt = model_.text_prompt(130, 1), .sampling = {.temperature = 0, .logprobs = 4}};
  question.max_tokens = 0;
  EXPECT_EQ(ask(question).get().finish, FinishReason::kLength);
  question.max_tokens = 12;
  const Answer first = ask(question).get();
  EXPECT_EQ(first.num_cached, 128);  // 4 blocks of 32
  expect_same(first, alone(question));
  // The conversation goes on: the answer's blocks count as well.
  std::vector<int32_t> ids = question.prompt.token_ids;
  for (const SampledToken& token : first.tokens) ids.push_back(token.id);
  for (int i = 0; i < 40; ++i) ids.push_back(i);
  Question next{.prompt = *make_prompt(model_.config, ids, {}), .sampling = question.sampling};
  const Answer second = ask(next).get();
  EXPECT_EQ(second.num_cached, 128);
  expect_same(second, alone(next));
  // Another salt shares nothing.
  auto done = std::make_shared<std::promise<Answer>>();
  auto future = done->get_future();
  EngineRequest salted = request_of(question, done);
  salted.cache_salt = "another key";
  ASSERT_TRUE(engine_->submit(std::move(salted)));
  EXPECT_EQ(future.get().num_cached, 0);
}

TEST_F(BatchingEngineTest, EqualPromptsAtTheSameTimeAreComputedOnce) {
  start({.dtype = DType::kF32, .max_model_len = 512, .max_num_batched_tokens = 64, .max_num_seqs = 8});
  const Question question{.prompt = model_.text_prompt(200, 3), .sampling = {.temperature = 0}, .max_tokens = 4};
  std::vector<std::future<Answer>> answers;
  for (int i = 0; i < 6; ++i) answers.push_back(ask(question));
  int32_t cached = 0;
  for (auto& answer : answers) cached += answer.get().num_cached;
  EXPECT_EQ(cached, 5 * 192);
}

// The text around two pictures is equal; nothing but the first tokens may be shared.
TEST_F(BatchingEngineTest, DifferentPicturesShareNoBlock) {
  start({.dtype = DType::kF32, .max_model_len = 512, .max_num_batched_tokens = 64, .max_num_seqs = 4});
  Question question{.prompt = model_.image_prompt(), .pictures = {1}, .sampling = {.temperature = 0, .logprobs = 2}};
  const auto& ids = question.prompt.token_ids;
  const auto first_image = std::find(ids.begin(), ids.end(), static_cast<int32_t>(model_.config.image_token_id));
  const auto text_blocks = static_cast<int32_t>((first_image - ids.begin()) / 32 * 32);
  ask(question).get();
  const Answer again = ask(question).get();
  EXPECT_EQ(again.num_cached, (question.prompt.num_tokens() - 1) / 32 * 32);
  question.pictures = {2};
  const Answer other = ask(question).get();
  EXPECT_EQ(other.num_cached, text_blocks);
  expect_same(other, alone(question));
}

TEST_F(BatchingEngineTest, EveryRequestEndsInOneNamedOutcome) {
  start({.dtype = DType::kF32, .max_model_len = 256, .max_num_batched_tokens = 32, .max_num_seqs = 2});
  const Question lasting{.prompt = model_.text_prompt(10, 1), .sampling = {.temperature = 0}, .max_tokens = 240};
  // Cancelled from its own callback, in the middle.
  auto done = std::make_shared<std::promise<Answer>>();
  auto future = done->get_future();
  EngineRequest request = request_of(lasting, done);
  std::atomic<uint64_t> id{0};
  int events = 0;
  request.on_event = [&, inner = request.on_event](EngineEvent event) {
    if (++events == 5) engine_->cancel(id);
    while (id == 0) std::this_thread::yield();
    inner(std::move(event));
  };
  const auto submitted = engine_->submit(std::move(request));
  ASSERT_TRUE(submitted);
  id = *submitted;
  const Answer cancelled = future.get();
  EXPECT_EQ(cancelled.finish, FinishReason::kCancelled);
  EXPECT_GE(cancelled.tokens.size(), 5u);
  EXPECT_LE(cancelled.tokens.size(), 6u);  // within one step

  done = std::make_shared<std::promise<Answer>>();
  future = done->get_future();
  request = request_of(lasting, done);
  request.deadline_ns = clock_.now_ns() - 1;
  ASSERT_TRUE(engine_->submit(std::move(request)));
  EXPECT_EQ(future.get().finish, FinishReason::kDeadline);

  done = std::make_shared<std::promise<Answer>>();
  future = done->get_future();
  request = request_of(lasting, done);
  const int32_t stop = alone(lasting).tokens[3].id;
  request.stop_token_ids = {stop};
  ASSERT_TRUE(engine_->submit(std::move(request)));
  const Answer stopped = future.get();
  EXPECT_EQ(stopped.finish, FinishReason::kStop);
  EXPECT_EQ(stopped.tokens.back().id, stop);

  // The context is the bound of an answer, and of a prompt.
  Question question = lasting;
  question.max_tokens = 100000;
  EXPECT_EQ(ask(question).get().tokens.size(), 246u);
  question.prompt = model_.text_prompt(256, 1);
  const auto refused = engine_->submit(request_of(question, std::make_shared<std::promise<Answer>>()));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kTooLarge);

  // What runs when the engine has to stop is cancelled; nothing is taken any more.
  auto last = ask(lasting);
  engine_->stop(clock_.now_ns());
  const FinishReason end = last.get().finish;
  EXPECT_TRUE(end == FinishReason::kCancelled || end == FinishReason::kLength);
  const auto late = engine_->submit(request_of(lasting, std::make_shared<std::promise<Answer>>()));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kOverloaded);
}

TEST_F(BatchingEngineTest, AFullQueueRefusesAndADraftGivesWay) {
  BatchingEngineOptions options;
  options.loop.max_num_waiting = 3;
  start({.dtype = DType::kF32, .max_model_len = 256, .max_num_batched_tokens = 32, .max_num_seqs = 1}, options);
  Question question{.prompt = model_.text_prompt(30, 1), .sampling = {.temperature = 0}, .max_tokens = 200};
  std::vector<std::future<Answer>> answers;
  int refused = 0;
  for (int i = 0; i < 20; ++i) {
    auto done = std::make_shared<std::promise<Answer>>();
    auto future = done->get_future();
    const auto id = engine_->submit(request_of(question, done));
    if (id) {
      answers.push_back(std::move(future));
    } else {
      EXPECT_EQ(id.error().code, ErrorCode::kOverloaded);
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
  for (auto& answer : answers) EXPECT_EQ(answer.get().finish, FinishReason::kLength);
}

// Several threads submit, cancel, bring pictures and read the statistics at once (for the thread sanitizer as well).
TEST_F(BatchingEngineTest, ManyThreadsAtOnce) {
  start({.dtype = DType::kF32,
         .max_model_len = 256,
         .max_num_batched_tokens = 32,
         .max_num_seqs = 4,
         .num_kv_tokens = 512,
         .num_image_rows = 64});
  std::vector<std::thread> threads;
  std::atomic<int> ended{0};
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t i = 0; i < 12; ++i) {
        Question question{.prompt = model_.text_prompt(20 + static_cast<int>(i), i), .max_tokens = 8};
        question.sampling.seed = i;
        if (i % 4 == t) {
          question.prompt = model_.image_prompt();
          question.pictures = {i % 3};
        }
        auto done = std::make_shared<std::promise<Answer>>();
        auto future = done->get_future();
        const auto id = engine_->submit(request_of(question, done));
        ASSERT_TRUE(id);
        if (i % 5 == 0) engine_->cancel(*id);
        EXPECT_GE(engine_->stats().num_blocks, 1);
        future.get();
        ++ended;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(ended, 48);
}

TEST_F(BatchingEngineTest, AnIdleEngineSleeps) {
  start({.dtype = DType::kF32, .max_model_len = 256, .max_num_batched_tokens = 32, .max_num_seqs = 2});
  ask({.prompt = model_.text_prompt(30, 1), .max_tokens = 8}).get();
  const auto cpu_seconds = [] {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::seconds(1));
  EXPECT_LT(cpu_seconds() - before, 0.005);
}

TEST_F(BatchingEngineTest, WarmUpLeavesNothingBehind) {
  runner_ =
      model_.runner({.dtype = DType::kF32, .max_model_len = 256, .max_num_batched_tokens = 64, .max_num_seqs = 2});
  steps_ = std::make_unique<HostStepRunner>(*runner_, clock_);
  ASSERT_TRUE(warm_up(*steps_, true));
  engine_ = std::make_unique<BatchingEngine>(*steps_, clock_, BatchingEngineOptions{.model_key = "tiny"});
  const Question question{
      .prompt = model_.image_prompt(), .pictures = {1}, .sampling = {.temperature = 0, .logprobs = 2}};
  expect_same(ask(question).get(), alone(question));
}

}  // namespace
}  // namespace glimpse
