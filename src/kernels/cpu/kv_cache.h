#pragma once

#include <memory>

#include "kernels/backend.h"

namespace glimpse::cpu {

// Errors: kResource.
Result<std::unique_ptr<KvCache>> make_kv(const KvSpec& spec, Backend& backend);

}  // namespace glimpse::cpu
