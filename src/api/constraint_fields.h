#pragma once

#include <optional>

#include "api/error.h"
#include "grammar/constraint.h"

namespace glimpse {

// What response_format, structured_outputs or one of the older guided_* fields requires of the answer, if anything.
// The schema is not looked into here. Errors: 400; also when two of them ask for something.
ApiResult<std::optional<Constraint>> parse_constraint(const json::object& body);

}  // namespace glimpse
