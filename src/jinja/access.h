#pragma once

// Looking into values and computing with them: what the operators of a template mean.

#include <string>
#include <string_view>

#include "base/result.h"
#include "jinja/ast.h"
#include "jinja/runtime.h"

namespace glimpse::jinja {

// value.name: a method or attribute first, an item second; undefined if neither. `name` must outlive the result.
Result<Value> get_attribute(Runtime& runtime, const Value& value, const std::string& name);
// value[key]: an item first, an attribute second.
Result<Value> get_item(Runtime& runtime, const Value& value, const Value& key);
// value[start:stop:step]; undefined and None bounds are open.
Result<Value> get_slice(Runtime& runtime, const Value& value, const Value& start, const Value& stop, const Value& step);

Result<Value> arithmetic(Runtime& runtime, Op op, const Value& a, const Value& b);
Result<Value> negate(const Value& value, bool minus);
Result<bool> contains(Runtime& runtime, const Value& container, const Value& item);
Result<bool> compare_with(Runtime& runtime, Compare compare, const Value& a, const Value& b);

Error undefined_error(const Undefined& undefined);

// value.name(args) for the methods of strings, lists and dicts. has_method says whether the name is one.
bool has_method(const Value& value, std::string_view name);
Result<Value> call_method(Runtime& runtime, const Value& value, std::string_view name, const Args& args);
Result<Value> call_string_method(Runtime& runtime, const TextPtr& text, std::string_view name, const Args& args);

// range, dict, namespace, raise_exception, strftime_now
Result<Value> call_function(Runtime& runtime, Function function, const Args& args);

// Python's "%" and str.format() for plain conversions; widths and flags as far as %5d, %-5s, %05.2f.
Result<Value> percent_format(Runtime& runtime, const Text& format, const Value& values);
Result<Value> brace_format(Runtime& runtime, const Text& format, const Args& args);

}  // namespace glimpse::jinja
