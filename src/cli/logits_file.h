#pragma once

#include <span>
#include <string>

#include "base/result.h"

namespace glimpse {

// Writes a safetensors file with one float32 tensor "logits" [rows, vocab]. Errors: kResource naming the path.
Status write_logits(const std::string& path, std::span<const float> logits, int64_t vocab);

}  // namespace glimpse
