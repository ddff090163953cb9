#include "cli/answer.h"

#include <fmt/format.h>

#include <algorithm>

namespace glimpse {

namespace {

json::array ids_json(const std::vector<int32_t>& ids) {
  return json::array(ids.begin(), ids.end());
}

std::string token_text(const ModelSource& source, int32_t id) {
  const auto mapped = source.to_tokenizer_id(id);
  const int32_t one[] = {mapped.value_or(-1)};
  return source.tokenizer.decode(one);
}

double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const auto index = static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5);
  return values[index];
}

}  // namespace

json::object answer_json(const Answer& answer, const LatencyAccount& account, const ModelSource& source) {
  json::object object{{"model", source.label},
                      {"answer", answer.text},
                      {"reasoning", answer.reasoning},
                      {"finish_reason", finish_reason_name(answer.reason)},
                      {"prompt_ids", ids_json(answer.prompt_ids)},
                      {"output_ids", ids_json(answer.output_ids)},
                      {"usage",
                       {{"prompt_tokens", answer.prompt_ids.size()},
                        {"completion_tokens", answer.output_ids.size()},
                        {"total_tokens", answer.prompt_ids.size() + answer.output_ids.size()}}}};
  if (!answer.tokens.empty()) {
    json::array logprobs;
    for (const SampledToken& token : answer.tokens) {
      json::array top;
      for (const auto& [id, logprob] : token.top_logprobs) {
        top.push_back(json::object{{"id", id}, {"token", token_text(source, id)}, {"logprob", logprob}});
      }
      logprobs.push_back(json::object{{"id", token.id},
                                      {"token", token_text(source, token.id)},
                                      {"logprob", token.logprob},
                                      {"top_logprobs", std::move(top)}});
    }
    object["logprobs"] = std::move(logprobs);
  }
  object["latency"] = account.to_json();
  return object;
}

std::string repeat_table(const std::vector<LatencyAccount::Summary>& runs) {
  std::string table = fmt::format("{:<14}{:>10}{:>10}{:>10}\n", "ms", "median", "p95", "max");
  const auto row = [&](std::string_view name, auto&& value) {
    std::vector<double> values;
    for (const auto& run : runs) values.push_back(value(run));
    if (percentile(values, 1) == 0) return;
    table += fmt::format("{:<14}{:>10.3f}{:>10.3f}{:>10.3f}\n", name, percentile(values, 0.5), percentile(values, 0.95),
                         percentile(values, 1));
  };
  for (int i = 0; i < kNumSpans; ++i) {
    row(span_name(static_cast<Span>(i)), [&](const LatencyAccount::Summary& run) {
      return static_cast<double>(run.spans[static_cast<size_t>(i)].exclusive_ns) / 1e6;
    });
  }
  row("total", [](const auto& run) { return static_cast<double>(run.total_ns) / 1e6; });
  std::vector<double> covered;
  for (const auto& run : runs) {
    covered.push_back(100 * static_cast<double>(run.union_ns) / static_cast<double>(run.total_ns));
  }
  table += fmt::format("covered by spans: median {:.2f} %, least {:.2f} %, {} runs\n", percentile(covered, 0.5),
                       percentile(covered, 0), runs.size());
  return table;
}

}  // namespace glimpse
