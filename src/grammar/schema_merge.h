#pragma once

#include "base/json.h"
#include "base/result.h"

namespace glimpse {

// Where a "$ref" points within the schema `root`. Errors: kUnsupported for other documents and anchors,
// kInvalidArgument if there is nothing.
Result<const json::value*> resolve_ref(const json::value& root, std::string_view ref);

// One schema that both schemas together say (allOf, or a $ref with keywords beside it). Errors: kUnsupported where two
// keywords cannot simply be put together.
Result<json::value> merge_schemas(const json::value& root, const json::value& a, const json::value& b, int depth = 0);

// Whether a keyword only describes.
bool is_annotation(std::string_view keyword);

// Whether no value satisfies both, as far as types, constants and required constant properties tell.
bool clearly_disjoint(const json::value& root, const json::value& a, const json::value& b);

}  // namespace glimpse
