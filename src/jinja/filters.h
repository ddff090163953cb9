#pragma once

// The filters, named and with parameters as in jinja2 3.1 (filters.py). Those that jinja2 makes generators of return
// iterators here. Left out: everything about HTML (safe is string), random, and text layout that no prompt needs.

#include "jinja/runtime.h"

namespace glimpse::jinja::filters {

using Filter = Result<Value>(Runtime& runtime, const Value& value, const Args& args);

// scalar_filters.cc
Filter abs, attr, center, fallback, format, indent, length, replace, round, string, title, to_float, to_int, trim;
template <char kind>  // 'u'pper, 'l'ower, 'c'apitalize
Result<Value> change_case(Runtime& runtime, const Value& value, const Args& args);

// row_filters.cc
Filter dictsort, first, items, join, last, list, map, reverse, sort, sum, unique;
template <int sign>  // 1 for the largest, -1 for the smallest
Result<Value> extreme(Runtime& runtime, const Value& value, const Args& args);
template <bool keep, bool by_attribute>
Result<Value> select(Runtime& runtime, const Value& value, const Args& args);

}  // namespace glimpse::jinja::filters
