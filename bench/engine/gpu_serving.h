#pragma once

// What a GPU does for many at once, and for one question from its picture's bytes on: parts of gpu_bench.

#include <string>

#include "engine/runner.h"

namespace glimpse {

// Gaps between the tokens of eight running answers, without and with pictures of `size` ("WIDTHxHEIGHT", after
// resizing) going through the tower.
Status bench_beside(Runner& runner, const std::string& size);

// From the bytes of a JPEG of `size` to the first token, everything in this process; `folder` has the model's
// preprocessor_config.json.
Status bench_request(Runner& runner, const std::string& folder, const std::string& size, int runs);

}  // namespace glimpse
