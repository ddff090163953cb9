#include "jinja/runtime.h"

#include <algorithm>

namespace glimpse::jinja {

namespace {

constexpr size_t kValueOverhead = 64;  // of a heap object, roughly
constexpr size_t kCharBytes = 160;     // of a one-character string in a list

}  // namespace

Error type_error(std::string message) {
  return {ErrorCode::kInvalidData, std::move(message)};
}

Runtime::~Runtime() {
  // One at a time while all are still alive, so that a long chain of them is not taken apart recursively.
  for (const NamespacePtr& space : namespaces_) space->attributes.clear();
}

Status Runtime::charge(size_t bytes) {
  bytes_ += bytes;
  if (bytes_ > limits.value_bytes) {
    return Error{ErrorCode::kTooLarge,
                 "values take more than the " + std::to_string(limits.value_bytes) + " bytes allowed"};
  }
  return {};
}

Status Runtime::step(int64_t count) {
  steps_ += count;
  if (steps_ > limits.steps) {
    return Error{ErrorCode::kTooLarge, "takes more than the " + std::to_string(limits.steps) + " steps allowed"};
  }
  return {};
}

Result<Value> Runtime::string(TextBuilder&& builder) {
  RETURN_IF_ERROR(charge(builder.size() + kValueOverhead));
  return Value(std::make_shared<const Text>(builder.take()));
}

Result<Value> Runtime::string(std::string_view trusted) {
  RETURN_IF_ERROR(charge(trusted.size() + kValueOverhead));
  return Value(trusted_text(trusted));
}

Result<Value> Runtime::substring(const Text& text, size_t begin, size_t end) {
  RETURN_IF_ERROR(charge(end - begin + kValueOverhead));
  return Value(slice(text, begin, end));
}

Result<Value> Runtime::seq(Seq::Kind kind, std::vector<Value> items, std::string label) {
  RETURN_IF_ERROR(charge(items.size() * sizeof(Value) + kValueOverhead));
  auto made = std::make_shared<Seq>();
  made->kind = kind;
  made->label = std::move(label);
  for (const Value& item : items) made->depth = std::max(made->depth, depth_of(item) + 1);
  made->items = std::move(items);
  if (made->depth > kMaxValueDepth) {
    return Error{ErrorCode::kTooLarge, "value nested deeper than " + std::to_string(kMaxValueDepth)};
  }
  return Value(SeqPtr(std::move(made)));
}

Result<Value> Runtime::dict(Dict dict) {
  RETURN_IF_ERROR(charge(dict.items.size() * 4 * sizeof(Value) + kValueOverhead));
  if (dict.depth > kMaxValueDepth) {
    return Error{ErrorCode::kTooLarge, "value nested deeper than " + std::to_string(kMaxValueDepth)};
  }
  return Value(DictPtr(std::make_shared<const Dict>(std::move(dict))));
}

Result<Value> Runtime::make_namespace() {
  RETURN_IF_ERROR(charge(2 * kValueOverhead));
  namespaces_.push_back(std::make_shared<Namespace>());
  return Value(namespaces_.back());
}

Result<SeqPtr> iterate(Runtime& runtime, const Value& value) {
  std::vector<Value> items;
  if (value.is<SeqPtr>()) {
    const SeqPtr& seq = value.as<SeqPtr>();
    if (seq->kind != Seq::Kind::kIterator) return seq;
    if (!seq->consumed) {
      seq->consumed = true;
      return seq;
    }
  } else if (value.is<DictPtr>()) {
    for (const auto& [key, ignored] : value.as<DictPtr>()->items) items.push_back(key);
  } else if (value.is_string()) {
    const Text& text = value.text();
    RETURN_IF_ERROR(runtime.charge(text.length() * kCharBytes));
    for (size_t at = 0; at < text.size();) {
      const size_t next = at + code_point_at(text.bytes, at).bytes;
      items.emplace_back(slice(text, at, next));
      at = next;
    }
  } else if (value.is<LoopPtr>() || !value.is_undefined()) {
    return type_error("'" + type_name(value) + "' object is not iterable");
  }
  ASSIGN_OR_RETURN(const Value list, runtime.list(std::move(items)));
  return list.as<SeqPtr>();
}

Result<int64_t> length_of(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return int64_t{0};
  if (value.is_string()) {
    if (!value.text().ascii) RETURN_IF_ERROR(runtime.scan(value.text().size()));
    return static_cast<int64_t>(value.text().length());
  }
  if (value.is<DictPtr>()) return static_cast<int64_t>(value.as<DictPtr>()->items.size());
  if (value.is<LoopPtr>()) return static_cast<int64_t>(value.as<LoopPtr>()->items->items.size());
  if (value.is<SeqPtr>() && value.as<SeqPtr>()->kind != Seq::Kind::kIterator) {
    return static_cast<int64_t>(value.as<SeqPtr>()->items.size());
  }
  return type_error("object of type '" + type_name(value) + "' has no len()");
}

Result<std::vector<const Value*>> bind(std::string_view function, const Args& args,
                                       const std::vector<std::string_view>& parameters, size_t required) {
  if (args.positional.size() > parameters.size()) {
    return type_error(std::string(function) + "() takes at most " + std::to_string(parameters.size()) +
                      " arguments, not " + std::to_string(args.positional.size()));
  }
  std::vector<const Value*> bound(parameters.size(), nullptr);
  for (size_t i = 0; i < args.positional.size(); ++i) bound[i] = &args.positional[i];
  for (const auto& [name, value] : args.keyword) {
    const auto parameter = std::find(parameters.begin(), parameters.end(), name);
    if (parameter == parameters.end()) {
      return type_error(std::string(function) + "() got an unexpected keyword argument '" + name + "'");
    }
    const auto at = static_cast<size_t>(parameter - parameters.begin());
    if (bound[at] != nullptr) {
      return type_error(std::string(function) + "() got multiple values for argument '" + name + "'");
    }
    bound[at] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (bound[i] == nullptr) {
      return type_error(std::string(function) + "() missing argument '" + std::string(parameters[i]) + "'");
    }
  }
  return bound;
}

}  // namespace glimpse::jinja
