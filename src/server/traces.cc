#include "server/traces.h"

#include <algorithm>
#include <functional>

namespace glimpse {

namespace {

constexpr size_t kMaxSteps = 4096;       // of all requests
constexpr size_t kMaxTraceSteps = 2048;  // of one
constexpr size_t kMaxTraceSpans = 20'000;

uint64_t hash_of(std::string_view id) {
  return std::hash<std::string_view>{}(id);
}

double microseconds(int64_t ns) {
  return static_cast<double>(ns) / 1e3;
}

}  // namespace

void StepRing::on_step(const StepRecord& step) {
  const uint64_t at = written_.load(std::memory_order_relaxed);
  if (at - read_.load(std::memory_order_acquire) >= entries_.size()) {
    lost_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  TracedStep& entry = entries_[at % entries_.size()];
  entry.step_id = step.step_id;
  entry.begin_ns = step.begin_ns;
  entry.end_ns = step.end_ns;
  entry.num_seqs = step.num_seqs;
  entry.num_prefill_tokens = step.num_prefill_tokens;
  entry.num_decode_tokens = step.num_decode_tokens;
  entry.num_vision_stages = step.num_vision_stages;
  entry.num_requests = static_cast<uint32_t>(std::min(step.request_ids.size(), TracedStep::kMaxRequests));
  for (uint32_t i = 0; i < entry.num_requests; ++i) entry.request_hashes[i] = hash_of(*step.request_ids[i]);
  written_.store(at + 1, std::memory_order_release);
}

bool StepRing::pop(TracedStep& entry) {
  const uint64_t at = read_.load(std::memory_order_relaxed);
  if (at == written_.load(std::memory_order_acquire)) return false;
  entry = entries_[at % entries_.size()];
  read_.store(at + 1, std::memory_order_release);
  return true;
}

void Traces::add_step(const TracedStep& step) {
  steps_.push_back(step);
  if (steps_.size() > kMaxSteps) steps_.pop_front();
}

void Traces::add(const std::string& id, const std::string& request_id, const LatencyAccount& account) {
  if (max_traces_ == 0) return;
  auto trace = std::make_shared<Trace>();
  trace->id = id;
  trace->request_id = request_id;
  trace->arrival_ns = account.arrival_ns();
  const auto& spans = account.entries();
  trace->spans.assign(spans.begin(), spans.begin() + static_cast<ptrdiff_t>(std::min(spans.size(), kMaxTraceSpans)));
  const uint64_t hash = hash_of(id);
  for (auto step = steps_.rbegin(); step != steps_.rend() && step->end_ns >= trace->arrival_ns; ++step) {
    const auto end = step->request_hashes.begin() + step->num_requests;
    if (std::find(step->request_hashes.begin(), end, hash) != end) trace->steps.push_back(*step);
    if (trace->steps.size() >= kMaxTraceSteps) break;
  }
  std::reverse(trace->steps.begin(), trace->steps.end());
  by_id_[id] = trace;
  by_id_[request_id] = trace;
  traces_.push_back(std::move(trace));
  if (traces_.size() <= max_traces_) return;
  for (const std::string& name : {traces_.front()->id, traces_.front()->request_id}) {
    const auto found = by_id_.find(name);
    if (found != by_id_.end() && found->second == traces_.front()) by_id_.erase(found);
  }
  traces_.pop_front();
}

std::optional<std::string> Traces::chrome_json(std::string_view id) const {
  const auto found = by_id_.find(std::string(id));
  if (found == by_id_.end()) return std::nullopt;
  const Trace& trace = *found->second;
  json::array events;
  const auto name_thread = [&events](int tid, std::string_view name) {
    events.push_back(
        {{"ph", "M"}, {"pid", 1}, {"tid", tid}, {"name", "thread_name"}, {"args", json::object{{"name", name}}}});
  };
  name_thread(100, "engine steps");
  for (int i = 0; i < kNumSpans; ++i) name_thread(i + 1, span_name(static_cast<Span>(i)));
  for (const auto& span : trace.spans) {
    events.push_back({{"ph", "X"},
                      {"pid", 1},
                      {"tid", static_cast<int>(span.span) + 1},
                      {"name", span_name(span.span)},
                      {"ts", microseconds(span.begin_ns - trace.arrival_ns)},
                      {"dur", microseconds(span.end_ns - span.begin_ns)}});
  }
  for (const TracedStep& step : trace.steps) {
    events.push_back({{"ph", "X"},
                      {"pid", 1},
                      {"tid", 100},
                      {"name", "step"},
                      {"ts", microseconds(step.begin_ns - trace.arrival_ns)},
                      {"dur", microseconds(step.end_ns - step.begin_ns)},
                      {"args",
                       {{"step", step.step_id},
                        {"sequences", step.num_seqs},
                        {"prefill_tokens", step.num_prefill_tokens},
                        {"decode_tokens", step.num_decode_tokens},
                        {"vision_stages", step.num_vision_stages}}}});
  }
  return to_text(json::object{{"displayTimeUnit", "ms"},
                              {"traceEvents", std::move(events)},
                              {"otherData", {{"id", trace.id}, {"request_id", trace.request_id}}}});
}

}  // namespace glimpse
