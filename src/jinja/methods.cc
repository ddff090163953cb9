#include <algorithm>

#include "jinja/access.h"

namespace glimpse::jinja {

namespace {

Result<Value> dict_method(Runtime& runtime, const DictPtr& dict, std::string_view name, const Args& args) {
  if (name == "get") {
    ASSIGN_OR_RETURN(const auto bound, bind("get", args, {"key", "default"}, 1));
    if (bound[0]->is_string()) RETURN_IF_ERROR(runtime.scan(bound[0]->text().size()));
    if (const Value* found = dict->find(*bound[0])) return *found;
    return bound[1] != nullptr ? *bound[1] : Value(None{});
  }
  RETURN_IF_ERROR(bind(name, args, {}).has_value() ? Status() : Status(type_error("dict methods take no arguments")));
  if (name == "copy") return Value(dict);
  RETURN_IF_ERROR(runtime.step(static_cast<int64_t>(dict->items.size())));
  std::vector<Value> items;
  for (const auto& [key, value] : dict->items) {
    if (name == "keys") {
      items.push_back(key);
    } else if (name == "values") {
      items.push_back(value);
    } else {
      ASSIGN_OR_RETURN(Value pair, runtime.seq(Seq::Kind::kTuple, {key, value}));
      items.push_back(std::move(pair));
    }
  }
  return runtime.seq(Seq::Kind::kView, std::move(items), "dict_" + std::string(name));
}

Result<Value> seq_method(Runtime& runtime, const SeqPtr& seq, std::string_view name, const Args& args) {
  if (name == "copy") return Value(seq);
  ASSIGN_OR_RETURN(const auto bound, bind(name, args, {"value"}, 1));
  int64_t count = 0;
  for (size_t i = 0; i < seq->items.size(); ++i) {
    ASSIGN_OR_RETURN(const bool same, equal(runtime, seq->items[i], *bound[0]));
    if (same && name == "index") return Value(static_cast<int64_t>(i));
    count += same ? 1 : 0;
  }
  if (name == "index") return type_error("value is not in the list");
  return Value(count);
}

Result<Value> make_range(Runtime& runtime, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("range", args, {"start", "stop", "step"}, 1));
  for (const Value* value : bound) {
    if (value != nullptr && !value->is_int()) {
      return type_error("range() takes integers, not '" + type_name(*value) + "'");
    }
  }
  const int64_t start = bound[1] == nullptr ? 0 : bound[0]->integer();
  const int64_t stop = bound[1] == nullptr ? bound[0]->integer() : bound[1]->integer();
  const int64_t step = bound[2] == nullptr ? 1 : bound[2]->integer();
  if (step == 0) return type_error("range() step must not be zero");
  int64_t distance = 0;
  if (step == INT64_MIN || __builtin_sub_overflow(step > 0 ? stop : start, step > 0 ? start : stop, &distance)) {
    return Error{ErrorCode::kTooLarge, "range() bounds do not fit 64 bits"};
  }
  const int64_t stride = step > 0 ? step : -step;
  const int64_t count = distance <= 0 ? 0 : (distance - 1) / stride + 1;
  if (count > runtime.limits.range_items) {
    return Error{ErrorCode::kTooLarge, "range() of " + std::to_string(count) + " items is more than the " +
                                           std::to_string(runtime.limits.range_items) + " allowed"};
  }
  RETURN_IF_ERROR(runtime.step(count));
  std::vector<Value> items;
  for (int64_t i = 0; i < count; ++i) items.emplace_back(start + i * step);
  std::string label = "range(" + std::to_string(start) + ", " + std::to_string(stop);
  if (step != 1) label += ", " + std::to_string(step);
  return runtime.seq(Seq::Kind::kRange, std::move(items), label + ")");
}

// dict(x, a=…) and what namespace(x, a=…) starts from: x is a dict or a list of pairs.
Result<Dict> make_dict(Runtime& runtime, std::string_view function, const Args& args) {
  if (args.positional.size() > 1) return type_error(std::string(function) + "() takes one positional argument");
  Dict dict;
  if (!args.positional.empty()) {
    const Value& from = args.positional[0];
    if (from.is<DictPtr>()) {
      dict = *from.as<DictPtr>();
      RETURN_IF_ERROR(runtime.step(static_cast<int64_t>(dict.items.size())));
    } else {
      ASSIGN_OR_RETURN(const SeqPtr pairs, iterate(runtime, from));
      for (const Value& pair : pairs->items) {
        ASSIGN_OR_RETURN(const SeqPtr items, iterate(runtime, pair));
        if (items->items.size() != 2) return type_error(std::string(function) + "() needs pairs");
        if (!dict.insert(items->items[0], items->items[1])) {
          return type_error("unhashable type: '" + type_name(items->items[0]) + "'");
        }
      }
    }
  }
  for (const auto& [name, value] : args.keyword) {
    ASSIGN_OR_RETURN(Value key, runtime.string(name));
    dict.insert(std::move(key), value);
  }
  return dict;
}

Result<Value> fill_namespace(Runtime& runtime, const Args& args) {
  ASSIGN_OR_RETURN(const Dict attributes, make_dict(runtime, "namespace", args));
  ASSIGN_OR_RETURN(const Value space, runtime.make_namespace());
  for (const auto& [key, value] : attributes.items) {
    if (!key.is_string()) return type_error("namespace() attributes must be named by strings");
    if (key.text().bytes.starts_with('_')) return type_error("namespace() attributes must not begin with \"_\"");
    RETURN_IF_ERROR(runtime.charge(key.text().size() + sizeof(Value)));
    space.as<NamespacePtr>()->attributes.emplace_back(key.text().bytes, value);
  }
  return space;
}

Result<Value> strftime_now(Runtime& runtime, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("strftime_now", args, {"format"}, 1));
  if (!bound[0]->is_string()) return type_error("strftime_now() takes a string");
  if (!runtime.now.has_value())
    return Error{ErrorCode::kInvalidArgument, "strftime_now() is called, but no clock was given"};
  const std::string& format = bound[0]->text().bytes;
  if (format.empty()) return runtime.string("");
  char out[1024];
  const size_t size = format.size() > 256 ? 0 : std::strftime(out, sizeof(out), format.c_str(), &*runtime.now);
  if (size == 0) return Error{ErrorCode::kTooLarge, "strftime_now() format makes more than 1023 bytes"};
  if (!is_valid_utf8({out, size})) return type_error("strftime_now() format is not a date format");
  return runtime.string({out, size});
}

}  // namespace

Result<Value> call_method(Runtime& runtime, const Value& value, std::string_view name, const Args& args) {
  if (value.is_string()) {
    RETURN_IF_ERROR(runtime.scan(value.text().size()));
    return call_string_method(runtime, value.as<TextPtr>(), name, args);
  }
  if (value.is<DictPtr>()) return dict_method(runtime, value.as<DictPtr>(), name, args);
  if (value.is<SeqPtr>()) return seq_method(runtime, value.as<SeqPtr>(), name, args);
  if (value.is<LoopPtr>()) {
    if (args.positional.empty()) return type_error("loop.cycle() needs items to cycle through");
    return args.positional[value.as<LoopPtr>()->index % args.positional.size()];
  }
  return type_error("'" + type_name(value) + "' object is not callable");
}

Result<Value> call_function(Runtime& runtime, Function function, const Args& args) {
  switch (function) {
    case Function::kRange:
      return make_range(runtime, args);
    case Function::kDict: {
      ASSIGN_OR_RETURN(Dict dict, make_dict(runtime, "dict", args));
      return runtime.dict(std::move(dict));
    }
    case Function::kNamespace:
      return fill_namespace(runtime, args);
    case Function::kRaiseException: {
      ASSIGN_OR_RETURN(const auto bound, bind("raise_exception", args, {"message"}, 1));
      ASSIGN_OR_RETURN(const TextPtr message, to_str(runtime, *bound[0]));
      // The request's fault, in the template's words; on one line and not endless.
      std::string shown = message->bytes.substr(0, message->byte_offset(500));
      std::replace(shown.begin(), shown.end(), '\n', ' ');
      return Error{ErrorCode::kInvalidArgument, "the template refuses the conversation: " + shown};
    }
    case Function::kStrftimeNow:
      return strftime_now(runtime, args);
  }
  return type_error("unknown function");
}

}  // namespace glimpse::jinja
