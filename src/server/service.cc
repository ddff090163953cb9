#include "server/service.h"

#include "server/log.h"

namespace glimpse {

Service::Service(asio::io_context& io_context, const ServerOptions& server_options, const Clock& the_clock,
                 const ApiModel& api_model, Engine& the_engine, StepRing* step_ring, HttpServer& http_server)
    : io(io_context),
      options(server_options),
      clock(the_clock),
      model(api_model),
      engine(the_engine),
      steps(step_ring),
      started_s(std::time(nullptr)),
      metrics(api_model.name(), api_model.max_model_len(), the_clock),
      traces(server_options.trace_count),
      files(server_options.files, the_clock),
      text_pool(1),
      device(io_context, the_engine, the_clock),
      preparation(api_model.source(), the_engine, the_clock, server_options.preparation_threads),
      fetch(server_options.media),
      pictures(files, preparation, fetch, text_pool, the_clock),
      generations(io_context, server_options, the_clock, api_model, the_engine, pictures, text_pool, metrics, traces),
      http(http_server) {}

void Service::drain_steps() {
  if (steps == nullptr) return;
  TracedStep step;
  while (steps->pop(step)) {
    metrics.observe_step(step.num_prefill_tokens + step.num_decode_tokens,
                         static_cast<double>(step.end_ns - step.begin_ns) / 1e9);
    traces.add_step(step);
  }
}

ApiResult<FilePtr> Service::accept_picture(StoredFile file, std::string_view param,
                                           std::function<void(FilePtr)> on_prepared,
                                           std::function<void(FilePtr)> on_encoded) {
  const auto size = preparation.inspect(*file.picture, param);
  if (!size) return size.error();
  file.width = size->width;
  file.height = size->height;
  file.num_tokens = size->num_tokens;
  file.created_s = std::time(nullptr);
  file.spans = {file.picture->receive};
  auto added = files.add(std::move(file));
  if (!added) return to_api_error(added.error(), param);
  const FilePtr stored = *std::move(added);

  const auto tell = [this, stored, on_encoded] {
    if (on_encoded) asio::post(io, [stored, on_encoded] { on_encoded(stored); });
  };
  auto work = [this, stored, tell, on_prepared]() -> Task<void> {
    Preparation::Order order{
        .picture = stored->picture, .priority = Priority::kBackground, .param = "file", .on_encoded = tell};
    const ApiResult<PreparedPicture> prepared = co_await preparation.prepare(std::move(order));
    if (!prepared) {
      stored->failure = prepared.error().message;
    } else {
      stored->spans.insert(stored->spans.end(), prepared->spans.begin(), prepared->spans.end());
      files.pin(stored, prepared->image, engine.stats().image_rows / 2);
    }
    if (on_prepared) on_prepared(stored);
    // Already there, or given by somebody else: nobody will tell us when it is done, so look.
    if (prepared && prepared->cache_hit) {
      asio::steady_timer timer(io);
      while (!prepared->image->encoded()) {
        timer.expires_after(std::chrono::milliseconds(5));
        error_code ignored;
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      }
      tell();
    }
  };
  asio::co_spawn(io, std::move(work), asio::detached);
  return stored;
}

std::string_view draft_status(const GenerationService::DraftOutcome& outcome) {
  if (outcome.computed) return "computed";
  return outcome.num_prompt_tokens > 0 ? "cancelled" : "empty";
}

Task<ApiResult<GenerationService::DraftOutcome>> Service::run_draft(std::string id, std::shared_ptr<Generation> job) {
  const std::string owner = job->input.owner;
  {
    auto& running = drafts[owner];
    while (running.size() >= options.max_drafts_per_owner) {
      running.front().second->cancel();
      running.pop_front();
    }
    running.emplace_back(id, job);
  }
  ApiResult<GenerationService::DraftOutcome> outcome = co_await generations.draft(job);
  auto& running = drafts[owner];
  std::erase_if(running, [&job](const auto& draft) { return draft.second == job; });
  if (running.empty()) drafts.erase(owner);
  co_return outcome;
}

}  // namespace glimpse
