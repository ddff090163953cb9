#pragma once

// How answers are printed.

#include <string>
#include <vector>

#include "cli/question.h"

namespace glimpse {

// The object of `ask --json`: answer, reasoning, finish_reason, prompt_ids, output_ids, usage, logprobs (if asked for),
// latency.
json::object answer_json(const Answer& answer, const LatencyAccount& account, const ModelSource& source);

// Medians and 95th percentiles of total, coverage and each span over repeated questions, as a table.
std::string repeat_table(const std::vector<LatencyAccount::Summary>& runs);

}  // namespace glimpse
