#include "server/generation.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/error_response.h"
#include "server/log.h"

namespace glimpse {

namespace {

double seconds(int64_t ns) {
  return static_cast<double>(ns) / 1e9;
}

// The request keeps their number, which its prompt is checked against, but not their data.
std::vector<ImageSource> take_sources(ChatRequest& request) {
  std::vector<ImageSource> sources = std::move(request.images);
  request.images = std::vector<ImageSource>(sources.size());
  return sources;
}

}  // namespace

Generation::Generation(asio::io_context& io, Engine& engine, const Clock& clock, Metrics& metrics, Input request)
    : input(std::move(request)),
      cancelled(std::make_shared<std::atomic<bool>>(false)),
      account(input.arrival_ns, 256),
      engine_(engine),
      clock_(clock),
      metrics_(metrics),
      wake_(io, asio::steady_timer::time_point::max()) {}

void Generation::cancel() {
  if (cancelled->exchange(true)) return;
  end();
}

// Ends what still runs in the engine; its last events find nobody.
void Generation::end() {
  for (uint64_t& request : engine_ids_) {
    if (request != 0) engine_.cancel(std::exchange(request, 0));
  }
  wake_.cancel();
}

void Generation::on_event(int index, EngineEvent event) {
  const int64_t begin_ns = clock_.now_ns();
  int64_t made_ns = 0;  // when the engine had it
  for (const SpanRecord& span : event.spans) {
    account.record(span.span, span.begin_ns, span.end_ns);
    made_ns = std::max(made_ns, span.end_ns);
  }
  const auto i = static_cast<size_t>(index);
  if (event.finish && i < engine_ids_.size()) engine_ids_[i] = 0;
  if (done_ || is_cancelled() || responder_ == nullptr) return;
  num_cached_tokens_ = event.num_cached_tokens;
  if (!event.tokens.empty()) {
    if (first_token_ns_ == 0) {
      first_token_ns_ = begin_ns;
      metrics_.observe_first_token(seconds(begin_ns - input.arrival_ns));
    }
    if (last_token_ns_[i] != 0) metrics_.observe_token_gap(seconds(begin_ns - last_token_ns_[i]));
    last_token_ns_[i] = begin_ns;
  }
  if (event.finish && finish_.empty()) finish_ = finish_reason_name(*event.finish);
  out_.clear();
  Recording* recording = i < recordings_.size() && recordings_[i].key ? &recordings_[i] : nullptr;
  if (recording != nullptr) recording->answer.append(event, with_logprobs_);
  const bool hold = sink_ != nullptr && sink_->congested();
  const Responder::Progress progress = responder_->push(index, event, out_, hold);
  if (progress.cancel && (finish_.empty() || finish_ == "cancelled")) finish_ = "stop";
  if (progress.cancel && i < engine_ids_.size() && engine_ids_[i] != 0) {
    engine_.cancel(std::exchange(engine_ids_[i], 0));
  }
  if (recording != nullptr && progress.choice_done) {
    if (responder_->failure() == nullptr) answers_->add(*recording->key, std::move(recording->answer));
    *recording = {};
  }
  if (sink_ != nullptr && !out_.empty()) {
    last_write_ns_ = begin_ns;
    if (!sink_->write(out_)) stream_broken_ = true;
  }
  account.record(Span::kStream, made_ns != 0 && made_ns < begin_ns ? made_ns : begin_ns, clock_.now_ns());
  if (progress.all_done || stream_broken_) {
    done_ = true;
    wake_.cancel();
  }
}

Task<void> Generation::wait(int64_t ping_interval_ms) {
  while (!done_ && !is_cancelled()) {
    wake_.expires_after(std::chrono::milliseconds(ping_interval_ms));
    error_code ignored;
    co_await wake_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    if (done_ || is_cancelled() || sink_ == nullptr) continue;
    if (clock_.now_ns() - last_write_ns_ < ping_interval_ms * 900'000) continue;
    if (!sink_->write(": ping\n\n")) stream_broken_ = done_ = true;
  }
}

// The service ---------------------------------------------------------------------------------------------------------

// What a request becomes on its way. Kept by shared pointer: a follow-up's prefill outlives the request.
struct GenerationService::Work {
  std::optional<ChatRequest> chat;
  std::optional<CompletionRequest> completion;
  std::vector<PreparedPicture> pictures;
  std::vector<GridThw> grids;
  std::vector<BuiltPrompt> built;                        // one for chat, one for each prompt of a completion
  std::vector<EngineRequest> engine_requests;            // choice by choice
  std::vector<std::optional<Sha256Digest>> answer_keys;  // the same; empty without an answer cache
  std::vector<std::pair<int, EngineEvent>> cached;       // choices that need no engine
  std::unique_ptr<Responder> responder;

  const GenerationFields& fields() const { return chat ? chat->generation : completion->generation; }
};

GenerationService::GenerationService(asio::io_context& io, const ServerOptions& options, const Clock& clock,
                                     const ApiModel& model, Engine& engine, PictureSources& pictures, WorkPool& pool,
                                     Metrics& metrics, Traces& traces)
    : io_(io),
      options_(options),
      clock_(clock),
      model_(model),
      engine_(engine),
      pictures_(pictures),
      pool_(pool),
      metrics_(metrics),
      traces_(traces),
      answers_(options.answer_cache_bytes),
      inbox_(std::make_shared<EventInbox>(io)) {}

double GenerationService::estimate_wait_s() const {
  const EngineStats stats = engine_.stats();
  const double turns = static_cast<double>(stats.num_waiting + 1) / std::max(1, stats.num_running);
  return std::clamp(turns * recent_request_s_, 1.0, 120.0);
}

std::string GenerationService::salt_of(const std::string& owner, const std::string& given) const {
  return given.empty() ? owner : owner + "/" + given;
}

Task<std::optional<HttpResponse>> GenerationService::run(std::shared_ptr<Generation> job, GenerationSink& sink) {
  struct Active {
    explicit Active(size_t& n) : count(n) { ++count; }
    ~Active() { --count; }
    size_t& count;
  } active(num_active_);
  const auto work = std::make_shared<Work>();
  job->account.record(Span::kReceive, job->input.arrival_ns, job->input.received_ns);
  std::optional<ApiError> error = co_await prepare(*job, *work);
  if (!error && !job->is_cancelled()) error = submit(job, *work);
  if (error) {
    job->end();
    metrics_.count_refusal(error->status);
    co_return error_response(*error);
  }
  if (job->is_cancelled()) {
    job->end();
    metrics_.count_end("abort");
    co_return std::nullopt;
  }
  const bool stream = work->fields().stream;
  if (stream) {
    job->last_write_ns_ = clock_.now_ns();
    sink.begin(job->account);
    job->sink_ = &sink;
  }
  for (auto& [choice, event] : work->cached) job->on_event(choice, std::move(event));
  co_await job->wait(options_.ping_interval_ms);
  job->sink_ = nullptr;
  if (job->is_cancelled() || job->stream_broken_) {
    job->cancel();
    metrics_.count_end("abort");
    record_end(*job, *work);
    co_return std::nullopt;
  }
  // The tower's work since the question; what it did for an upload before is in the picture's own spans.
  for (const PreparedPicture& picture : work->pictures) {
    for (const SpanRecord& span : picture.image->spans()) {
      if (span.end_ns > picture.asked_ns) job->account.record(span.span, span.begin_ns, span.end_ns);
    }
  }
  job->account.finish(clock_.now_ns());
  std::string out;
  std::optional<HttpResponse> response;
  if (const ApiError* failure = job->responder_->failure()) {
    job->end();
    metrics_.count_end("error");
    if (stream) {
      Responder::append_stream_error(*failure, out);
      sink.write(out);
    } else {
      response = error_response(*failure);
    }
    record_end(*job, *work);
    co_return response;
  }
  int32_t hits = 0;
  for (const PreparedPicture& picture : work->pictures) hits += picture.cache_hit ? 1 : 0;
  job->responder_->finish({.account = &job->account,
                           .image_cache_hits = hits,
                           .answer_cache_hits = static_cast<int32_t>(work->cached.size())},
                          out);
  if (stream) {
    sink.write(out);
  } else {
    response = HttpResponse{.body = std::move(out)};
    response->headers.emplace_back("server-timing", server_timing(job->account));
  }
  job->account.record(Span::kStream, job->account.arrival_ns() + job->account.total_ns(), clock_.now_ns());
  metrics_.count_end(job->finish_);
  record_end(*job, *work);
  if (work->chat && options_.prefill_follow_ups) {
    std::string answer(job->responder_->content());
    asio::co_spawn(io_, prefill_follow_up(work, std::move(answer), job->input.owner), asio::detached);
  }
  co_return response;
}

// Everything before the engine: the body's meaning, the pictures, the prompt.
Task<std::optional<ApiError>> GenerationService::prepare(Generation& job, Work& work) {
  if (engine_.stats().num_waiting >= options_.max_waiting) {
    co_return overloaded("too many requests are waiting", estimate_wait_s());
  }
  auto parse_it = [&] { return parse(job, work); };
  ApiStatus parsed = co_await pool_.run(parse_it);
  int64_t ready_ns = clock_.now_ns();
  job.account.record(Span::kTokenize, job.input.received_ns, ready_ns);
  if (!parsed) co_return std::move(parsed).error();
  if (job.is_cancelled()) co_return std::nullopt;

  if (work.chat && !work.chat->images.empty()) {
    const int64_t begin_ns = ready_ns;
    PictureSources::Asker asker{.owner = job.input.owner,
                                .attachments = &job.input.attachments,
                                .priority = work.fields().priority,
                                .cancelled = job.cancelled};
    auto pictures = co_await pictures_.resolve(take_sources(*work.chat), std::move(asker));
    if (!pictures) co_return std::move(pictures).error();
    work.pictures = *std::move(pictures);
    ready_ns = begin_ns;
    for (const PreparedPicture& picture : work.pictures) {
      work.grids.push_back(picture.image->grid());
      for (const SpanRecord& span : picture.spans) {
        job.account.record(span.span, span.begin_ns, span.end_ns);
        ready_ns = std::max(ready_ns, span.end_ns);
      }
    }
    if (job.is_cancelled()) co_return std::nullopt;
  }
  auto build_it = [&] { return build(job, work); };
  ApiStatus built = co_await pool_.run(build_it);
  job.account.record(Span::kTokenize, ready_ns, clock_.now_ns());
  if (!built) co_return std::move(built).error();
  co_return std::nullopt;
}

ApiStatus GenerationService::parse(Generation& job, Work& work) const {
  ASSIGN_OR_RETURN(json::value body, parse_body(job.input.body));
  job.input.body = {};
  if (job.input.kind == GenerationKind::kChat) {
    ASSIGN_OR_RETURN(work.chat, parse_chat_request(std::move(body), model_));
    return kApiOk;
  }
  ASSIGN_OR_RETURN(work.completion, parse_completion_request(body, model_));
  return kApiOk;
}

ApiStatus GenerationService::build(Generation& job, Work& work) const {
  const bool chat = work.chat.has_value();
  job.id = (chat ? "chatcmpl-" : "cmpl-") + random_hex(12);
  Responder::Identity identity{
      .id = job.id, .created_s = std::time(nullptr), .fingerprint = "glimpse-" + options_.version};
  if (chat) {
    ASSIGN_OR_RETURN(BuiltPrompt built, build_chat_prompt(*work.chat, work.grids, model_));
    work.built.push_back(std::move(built));
    for (int choice = 0; choice < work.fields().n; ++choice) {
      ASSIGN_OR_RETURN(EngineRequest request, make_engine_request(*work.chat, work.built[0], choice, model_));
      work.engine_requests.push_back(std::move(request));
    }
    make_answer_keys(job, work);
    // The same message again names its calls alike.
    if (!work.answer_keys.empty() && work.answer_keys[0]) identity.call_seed = to_hex(*work.answer_keys[0]);
    work.responder = Responder::chat(*work.chat, work.built[0], model_, std::move(identity));
    return kApiOk;
  }
  for (const TextOrIds& prompt : work.completion->prompts) {
    ASSIGN_OR_RETURN(BuiltPrompt built, build_text_prompt(prompt, model_));
    work.built.push_back(std::move(built));
    for (int choice = 0; choice < work.fields().n; ++choice) {
      ASSIGN_OR_RETURN(EngineRequest request, make_engine_request(*work.completion, work.built.back(), choice, model_));
      work.engine_requests.push_back(std::move(request));
    }
  }
  make_answer_keys(job, work);
  work.responder = Responder::completion(*work.completion, work.built, model_, std::move(identity));
  return kApiOk;
}

void GenerationService::make_answer_keys(const Generation& job, Work& work) const {
  if (!answers_.enabled()) return;
  std::vector<ImageKey> images;
  for (const PreparedPicture& picture : work.pictures) images.push_back(picture.image->key());
  // What is skipped decides where a stop string is found, and so where the engine was stopped.
  const std::string salt =
      salt_of(job.input.owner, work.fields().cache_salt) + (work.fields().skip_special_tokens ? "|" : "|special");
  for (const EngineRequest& request : work.engine_requests) {
    work.answer_keys.push_back(AnswerCache::key_of(request, images, salt));
  }
}

std::optional<ApiError> GenerationService::submit(const std::shared_ptr<Generation>& job, Work& work) {
  job->responder_ = std::move(work.responder);
  job->engine_ids_.assign(work.engine_requests.size(), 0);
  job->last_token_ns_.assign(work.engine_requests.size(), 0);
  job->answers_ = &answers_;
  job->recordings_.resize(work.answer_keys.size());
  job->with_logprobs_ = work.fields().sampling.logprobs >= 0;
  for (size_t i = 0; i < work.engine_requests.size(); ++i) {
    EngineRequest& request = work.engine_requests[i];
    if (i < work.answer_keys.size() && work.answer_keys[i]) {
      if (const auto known = answers_.find(*work.answer_keys[i])) {
        work.cached.emplace_back(static_cast<int>(i), known->event(request.prompt.num_tokens()));
        continue;
      }
      job->recordings_[i].key = work.answer_keys[i];
    }
    request.id = job->id;
    for (const PreparedPicture& picture : work.pictures) request.images.push_back(picture.image);
    request.cache_salt = salt_of(job->input.owner, work.fields().cache_salt);
    request.arrival_ns = job->input.arrival_ns;
    if (options_.request_timeout_ms > 0) {
      request.deadline_ns = job->input.arrival_ns + options_.request_timeout_ms * 1'000'000;
    }
    request.on_event = inbox_->callback(job, static_cast<int>(i));
    auto submitted = engine_.submit(std::move(request));
    if (!submitted) {
      ApiError error = to_api_error(submitted.error());
      if (submitted.error().code == ErrorCode::kOverloaded) error.retry_after_s = estimate_wait_s();
      return error;
    }
    job->engine_ids_[i] = *submitted;
  }
  work.engine_requests.clear();
  return std::nullopt;
}

void GenerationService::record_end(Generation& job, const Work& work) {
  const int64_t now_ns = clock_.now_ns();
  const Responder::Usage usage = job.responder_->usage();
  const double total_s = seconds(now_ns - job.input.arrival_ns);
  recent_request_s_ += 0.1 * (total_s - recent_request_s_);
  metrics_.observe_request({.account = &job.account,
                            .prompt_tokens = usage.prompt_tokens,
                            .cached_tokens = usage.cached_tokens,
                            .completion_tokens = usage.completion_tokens,
                            .max_tokens = work.fields().max_tokens.value_or(0),
                            .num_choices = work.fields().n,
                            .first_token_ns = job.first_token_ns_,
                            .end_ns = now_ns});
  traces_.add(job.id, job.input.request_id, job.account);
  if (options_.log_requests) {
    log_event(
        LogLevel::kInfo, "answered",
        {{"request_id", job.input.request_id},
         {"id", job.id},
         {"finish", job.is_cancelled() || job.stream_broken_ ? "abort" : job.finish_},
         {"prompt_tokens", usage.prompt_tokens},
         {"cached_tokens", usage.cached_tokens},
         {"completion_tokens", usage.completion_tokens},
         {"ttft_ms", job.first_token_ns_ == 0
                         ? json::value(nullptr)
                         : json::value(static_cast<double>((job.first_token_ns_ - job.input.arrival_ns) / 1000) / 1e3)},
         {"total_ms", static_cast<double>((now_ns - job.input.arrival_ns) / 1000) / 1e3}});
  }
}

namespace {

// Waits for a draft's end.
class DraftTarget final : public EventTarget {
 public:
  explicit DraftTarget(asio::io_context& io) : done(io, asio::steady_timer::time_point::max()) {}
  void on_event(int, EngineEvent event) override {
    last = std::move(event);
    if (last.finish) done.cancel();
  }
  EngineEvent last;
  asio::steady_timer done;
};

}  // namespace

Task<ApiResult<GenerationService::DraftOutcome>> GenerationService::draft(std::shared_ptr<Generation> job) {
  const auto work = std::make_shared<Work>();
  auto parse_it = [&]() -> ApiStatus {
    ASSIGN_OR_RETURN(json::value body, parse_body(job->input.body));
    job->input.body = {};
    ASSIGN_OR_RETURN(work->chat, parse_chat_request(std::move(body), model_, ChatRequestKind::kDraft));
    return kApiOk;
  };
  ApiStatus parsed = co_await pool_.run(parse_it);
  if (!parsed) co_return std::move(parsed).error();
  DraftOutcome outcome;
  if (job->is_cancelled()) co_return outcome;
  if (!work->chat->images.empty()) {
    PictureSources::Asker asker{.owner = job->input.owner,
                                .attachments = &job->input.attachments,
                                .priority = Priority::kBackground,
                                .cancelled = job->cancelled};
    auto pictures = co_await pictures_.resolve(take_sources(*work->chat), std::move(asker));
    if (!pictures) co_return std::move(pictures).error();
    work->pictures = *std::move(pictures);
    for (const PreparedPicture& picture : work->pictures) work->grids.push_back(picture.image->grid());
  }
  auto build_it = [&]() -> ApiStatus {
    ASSIGN_OR_RETURN(BuiltPrompt built, build_draft_prompt(*work->chat, work->grids, model_));
    work->built.push_back(std::move(built));
    return kApiOk;
  };
  ApiStatus built = co_await pool_.run(build_it);
  if (!built) co_return std::move(built).error();
  BuiltPrompt& prompt = work->built.front();
  outcome.num_prompt_tokens = prompt.prompt.num_tokens();
  outcome.num_image_tokens = prompt.image_tokens;
  if (outcome.num_prompt_tokens == 0 || job->is_cancelled()) co_return outcome;

  const std::vector<size_t> images = std::move(prompt.image_indices);
  EngineRequest request = make_draft_request(std::move(prompt));
  request.id = "draft-" + random_hex(8);
  for (const size_t index : images) request.images.push_back(work->pictures[index].image);
  request.cache_salt = salt_of(job->input.owner, work->chat->generation.cache_salt);
  request.arrival_ns = job->input.arrival_ns;
  const auto target = std::make_shared<DraftTarget>(io_);
  request.on_event = inbox_->callback(target, 0);
  auto submitted = engine_.submit(std::move(request));
  if (!submitted) {
    ApiError error = to_api_error(submitted.error());
    if (submitted.error().code == ErrorCode::kOverloaded) error.retry_after_s = estimate_wait_s();
    co_return error;
  }
  job->engine_ids_ = {*submitted};
  while (!target->last.finish) {
    error_code ignored;
    co_await target->done.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  job->engine_ids_ = {};
  outcome.num_cached_tokens = target->last.num_cached_tokens;
  outcome.computed = target->last.finish == FinishReason::kLength;
  co_return outcome;
}

// What the next turn will surely begin with, computed while the user reads. Phone agents drop a step's picture from the
// history before they send the next one, so a conversation whose only picture is the last turn's gets both prefixes.
Task<void> GenerationService::prefill_follow_up(std::shared_ptr<Work> work, std::string answer, std::string owner) {
  const EngineStats stats = engine_.stats();
  if (stats.num_waiting > 0 || stats.num_drafts > 8) co_return;  // others need the time
  std::vector<FollowUp> kinds = {FollowUp::kKeepsPictures};
  if (!work->pictures.empty()) kinds.push_back(FollowUp::kDropsPictures);
  for (const FollowUp kind : kinds) {
    auto build_it = [&] { return build_follow_up_prompt(*work->chat, answer, kind, work->grids, model_); };
    ApiResult<BuiltPrompt> built = co_await pool_.run(build_it);
    if (!built || built->prompt.num_tokens() == 0 || built->prompt.num_tokens() >= engine_.max_model_len()) continue;
    const std::vector<size_t> images = std::move(built->image_indices);
    EngineRequest request = make_draft_request(*std::move(built));
    request.id = "follow-up";
    for (const size_t index : images) request.images.push_back(work->pictures[index].image);
    request.cache_salt = salt_of(owner, work->chat->generation.cache_salt);
    request.arrival_ns = clock_.now_ns();
    request.on_event = [](EngineEvent) {};
    const auto submitted = engine_.submit(std::move(request));
    if (submitted) metrics_.count_follow_up();
  }
}

std::string server_timing(const LatencyAccount& account) {
  const LatencyAccount::Summary summary = account.summarize();
  std::string text;
  for (int i = 0; i < kNumSpans; ++i) {
    const SpanSummary& span = summary.spans[static_cast<size_t>(i)];
    if (span.count == 0) continue;
    if (!text.empty()) text += ", ";
    fmt::format_to(std::back_inserter(text), "{};dur={:.3f}", span_name(static_cast<Span>(i)),
                   static_cast<double>(span.duration_ns) / 1e6);
  }
  return text;
}

}  // namespace glimpse
