#pragma once

#include "jinja/runtime.h"

namespace glimpse::jinja {

// The tojson filter as transformers defines it: Python's json.dumps(x, ensure_ascii=False, indent, separators,
// sort_keys), nothing escaped for HTML. Each string literal is untrusted if any byte of the string is.
Result<Value> tojson(Runtime& runtime, const Value& value, const Args& args);

}  // namespace glimpse::jinja
