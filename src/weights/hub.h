#pragma once

// From what the user calls a model to the directory that holds it. Nothing is ever downloaded.

#include <string>

#include "base/result.h"

namespace glimpse {

// The local cache of the model hub's own tools: $HF_HUB_CACHE, else $HF_HOME/hub, else
// ($XDG_CACHE_HOME or ~/.cache)/huggingface/hub. Empty when even the home directory is unknown.
std::string hub_cache_from_environment();

// `model` is a directory, or a hub id "org/name" whose snapshot lies under `hub_cache` as
// models--org--name/snapshots/<commit>, the commit being what refs/main holds (or the only one there is).
// Errors: kNotFound, kInvalidArgument: one sentence that says which directory to give.
Result<std::string> resolve_model(const std::string& model, const std::string& hub_cache);

}  // namespace glimpse
