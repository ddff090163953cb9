#pragma once

// JSON schemas to rules.

#include "base/json.h"
#include "base/result.h"
#include "grammar/rule_set.h"

namespace glimpse {

// Adds the rule whose texts are JSON values that the schema admits (not all of them: docs/structured-output.md says
// which spellings and optional freedoms are left out). Understood: type, enum, const, properties, required,
// additionalProperties, propertyNames, minProperties / maxProperties, items, prefixItems, minItems, maxItems,
// minLength, maxLength, pattern, format (date-time, date, time, uuid, email, ipv4), minimum, maximum and the exclusive
// ones, anyOf, oneOf of branches that can be told apart, allOf, $ref within the schema, also to itself. Annotations
// are ignored. Errors: kUnsupported naming the keyword, kInvalidArgument for malformed ones, kTooLarge.
Result<int32_t> add_schema_rule(RuleSet& set, const json::value& schema);

}  // namespace glimpse
