#include "jinja/template.h"

#include <algorithm>

#include "jinja/evaluator.h"
#include "jinja/parser.h"

namespace glimpse::jinja {

namespace {

class FromJson {
 public:
  FromJson(Runtime& runtime, const RenderOptions& options, bool untrusted)
      : runtime_(runtime), options_(options), untrusted_(untrusted) {}

  Result<Value> convert(const json::value& value, bool untrusted, int depth = 0) {
    if (depth > kMaxValueDepth)
      return Error{ErrorCode::kTooLarge, "nested deeper than " + std::to_string(kMaxValueDepth)};
    switch (value.kind()) {
      case json::kind::null:
        return Value(None{});
      case json::kind::bool_:
        return Value(value.get_bool());
      case json::kind::int64:
        return Value(value.get_int64());
      case json::kind::uint64:
        return Value(static_cast<double>(value.get_uint64()));  // over 2^63: the nearest we have
      case json::kind::double_:
        return Value(value.get_double());
      case json::kind::string:
        return text(value.get_string(), untrusted);
      case json::kind::array:
        break;
      case json::kind::object:
        return object(value.get_object(), depth);
    }
    std::vector<Value> items;
    items.reserve(value.get_array().size());
    for (const json::value& each : value.get_array()) {
      ASSIGN_OR_RETURN(Value item, convert(each, untrusted_, depth + 1));
      items.push_back(std::move(item));
    }
    return runtime_.list(std::move(items));
  }

 private:
  Result<Value> text(std::string_view bytes, bool untrusted) {
    RETURN_IF_ERROR(runtime_.charge(bytes.size() + sizeof(Text)));
    if (!is_valid_utf8(bytes)) return Error{ErrorCode::kInvalidArgument, "a string is not valid UTF-8"};
    return Value(text_of(bytes, untrusted));
  }

  Result<Value> object(const json::object& object, int depth) {
    Dict dict;
    for (const auto& [key, each] : object) {
      bool untrusted = untrusted_;
      if (untrusted && each.is_string() && std::string_view(key) == options_.word_field) {
        const std::string_view word = each.get_string();
        const auto& words = options_.trusted_words;
        untrusted = std::find(words.begin(), words.end(), word) == words.end();
      }
      ASSIGN_OR_RETURN(Value value, convert(each, untrusted, depth + 1));
      ASSIGN_OR_RETURN(Value name, text(key, untrusted_));
      dict.insert(std::move(name), std::move(value));
    }
    return runtime_.dict(std::move(dict));
  }

  Runtime& runtime_;
  const RenderOptions& options_;
  const bool untrusted_;
};

void set_builtins(const std::vector<std::string>& names, std::vector<Value>& globals) {
  static constexpr std::pair<std::string_view, Function> kFunctions[] = {{"range", Function::kRange},
                                                                         {"dict", Function::kDict},
                                                                         {"namespace", Function::kNamespace},
                                                                         {"raise_exception", Function::kRaiseException},
                                                                         {"strftime_now", Function::kStrftimeNow}};
  for (size_t i = 0; i < names.size(); ++i) {
    globals.emplace_back(Undefined{&names[i], nullptr});
    for (const auto& [name, function] : kFunctions) {
      if (names[i] == name) globals.back() = Value(function);
    }
  }
}

}  // namespace

Result<Template> Template::compile(std::string_view source, const Limits& limits) {
  if (source.size() > limits.template_bytes) {
    return Error{ErrorCode::kTooLarge, "template of " + std::to_string(source.size()) + " bytes is longer than the " +
                                           std::to_string(limits.template_bytes) + " allowed"};
  }
  if (!is_valid_utf8(source)) return Error{ErrorCode::kInvalidData, "template is not valid UTF-8"};
  ASSIGN_OR_RETURN(Program program, parse(source));
  return Template(std::make_shared<const Program>(std::move(program)), limits);
}

Result<Rendered> Template::render(const std::vector<Variable>& variables, const RenderOptions& options) const {
  Runtime runtime(limits_, options.now);
  std::vector<Value> globals;
  globals.reserve(program_->names.size());
  set_builtins(program_->names, globals);
  for (const Variable& variable : variables) {
    const auto name = std::find(program_->names.begin(), program_->names.end(), variable.name);
    if (name == program_->names.end()) continue;
    auto value = FromJson(runtime, options, !variable.trusted).convert(*variable.value, !variable.trusted);
    if (!value) return std::move(value).error().in("variable \"" + std::string(variable.name) + "\"");
    globals[static_cast<size_t>(name - program_->names.begin())] = *std::move(value);
  }
  Evaluator evaluator(runtime, *program_, std::move(globals));
  ASSIGN_OR_RETURN(Text text, evaluator.run());
  return Rendered{std::move(text.bytes), std::move(text.untrusted)};
}

bool Template::reads(std::string_view name) const {
  return std::find(program_->names.begin(), program_->names.end(), name) != program_->names.end();
}

}  // namespace glimpse::jinja
