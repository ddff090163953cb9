#include <algorithm>

#include "jinja/access.h"
#include "jinja/ast.h"
#include "jinja/filters.h"
#include "jinja/merge_sort.h"
#include "jinja/string_ops.h"

namespace glimpse::jinja::filters {

namespace {

// item, item.a.b or item[0] as the attribute argument of a filter says ("a.b", "0", 0); undefined on the way is an
// error unless it is the last step.
Result<Value> look_up(Runtime& runtime, const Value& item, const Value* attribute) {
  RETURN_IF_ERROR(runtime.step());
  if (attribute == nullptr || attribute->is_none()) return item;
  if (attribute->is_int()) return get_item(runtime, item, *attribute);
  ASSIGN_OR_RETURN(const TextPtr path, to_str(runtime, *attribute));
  Value found = item;
  for (size_t at = 0; at <= path->size();) {
    const size_t dot = std::min(path->bytes.find('.', at), path->size());
    const std::string part = path->bytes.substr(at, dot - at);
    const bool is_index =
        !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos;
    ASSIGN_OR_RETURN(const Value key, is_index ? Result<Value>(Value(int64_t{std::stol(part)})) : runtime.string(part));
    ASSIGN_OR_RETURN(found, get_item(runtime, found, key));
    at = dot + 1;
  }
  return found;
}

Result<Value> without_case(Runtime& runtime, Value key, const Value* case_sensitive) {
  if (!key.is_string() || (case_sensitive != nullptr && truthy(*case_sensitive))) return key;
  return jinja::change_case(runtime, key.text(), "lower");
}

struct Keyed {
  Value key;
  Value item;
};

Result<std::vector<Keyed>> keyed_items(Runtime& runtime, const Value& value, const Value* case_sensitive,
                                       const Value* attribute) {
  ASSIGN_OR_RETURN(const SeqPtr items, iterate(runtime, value));
  RETURN_IF_ERROR(runtime.charge(items->items.size() * sizeof(Keyed)));
  std::vector<Keyed> keyed;
  keyed.reserve(items->items.size());
  for (const Value& item : items->items) {
    ASSIGN_OR_RETURN(Value key, look_up(runtime, item, attribute));
    ASSIGN_OR_RETURN(key, without_case(runtime, std::move(key), case_sensitive));
    keyed.push_back({std::move(key), item});
  }
  return keyed;
}

// Stable; descending keeps equal items in their order, as Python's reverse=True does.
Status sort_keyed(Runtime& runtime, std::vector<Keyed>& keyed, bool descending) {
  Status failed;
  merge_sort(keyed, [&](const Keyed& a, const Keyed& b) {
    if (!failed) return false;
    const auto order = descending ? compare(runtime, b.key, a.key) : compare(runtime, a.key, b.key);
    if (!order) failed = order.error();
    return order && *order == -1;
  });
  return failed;
}

Result<Value> iterator(Runtime& runtime, std::vector<Value> items, const char* name) {
  return runtime.seq(Seq::Kind::kIterator, std::move(items), name);
}

bool is_true(const Value* value) {
  return value != nullptr && truthy(*value);
}

}  // namespace

Result<Value> dictsort(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("dictsort", args, {"case_sensitive", "by", "reverse"}));
  if (!value.is<DictPtr>()) return type_error("dictsort() needs a dict, not '" + type_name(value) + "'");
  const std::string by = bound[1] == nullptr ? "key" : bound[1]->is_string() ? bound[1]->text().bytes : "";
  if (by != "key" && by != "value") return type_error("dictsort() sorts by \"key\" or \"value\"");
  std::vector<Keyed> keyed;
  for (const auto& [key, item] : value.as<DictPtr>()->items) {
    ASSIGN_OR_RETURN(Value pair, runtime.seq(Seq::Kind::kTuple, {key, item}));
    ASSIGN_OR_RETURN(Value sort_key, without_case(runtime, by == "key" ? key : item, bound[0]));
    keyed.push_back({std::move(sort_key), std::move(pair)});
  }
  RETURN_IF_ERROR(sort_keyed(runtime, keyed, is_true(bound[2])));
  std::vector<Value> pairs;
  for (Keyed& each : keyed) pairs.push_back(std::move(each.item));
  return runtime.list(std::move(pairs));
}

Result<Value> first(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("first", args, {}));
  (void)bound;
  ASSIGN_OR_RETURN(const SeqPtr items, iterate(runtime, value));
  return items->items.empty() ? Value(Undefined{}) : items->items.front();
}

Result<Value> last(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("last", args, {}));
  (void)bound;
  if (type_name(value) == "generator") return type_error("'generator' object is not reversible");
  ASSIGN_OR_RETURN(const SeqPtr items, iterate(runtime, value));
  return items->items.empty() ? Value(Undefined{}) : items->items.back();
}

Result<Value> items(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("items", args, {}));
  (void)bound;
  if (value.is_undefined()) return iterator(runtime, {}, "items");
  if (!value.is<DictPtr>()) return type_error("items() needs a dict, not '" + type_name(value) + "'");
  ASSIGN_OR_RETURN(const Value view, call_method(runtime, value, "items", {}));
  return iterator(runtime, view.as<SeqPtr>()->items, "items");
}

Result<Value> join(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("join", args, {"d", "attribute"}));
  TextPtr separator = trusted_text("");
  if (bound[0] != nullptr) {
    ASSIGN_OR_RETURN(separator, to_str(runtime, *bound[0]));
  }
  ASSIGN_OR_RETURN(const SeqPtr rows, iterate(runtime, value));
  TextBuilder out;
  for (size_t i = 0; i < rows->items.size(); ++i) {
    ASSIGN_OR_RETURN(const Value item, look_up(runtime, rows->items[i], bound[1]));
    RETURN_IF_ERROR(runtime.charge(separator->size()));
    if (i > 0) out.append(*separator);
    RETURN_IF_ERROR(append_str(runtime, item, out));
  }
  return runtime.string(std::move(out));
}

Result<Value> list(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("list", args, {}));
  (void)bound;
  ASSIGN_OR_RETURN(const SeqPtr rows, iterate(runtime, value));
  return runtime.list(rows->items);
}

Result<Value> map(Runtime& runtime, const Value& value, const Args& args) {
  std::vector<Value> out;
  FilterFunction filter = nullptr;
  Args rest;
  const Value* attribute = nullptr;
  const Value* otherwise = nullptr;
  if (args.positional.empty()) {
    ASSIGN_OR_RETURN(const auto bound,
                     bind("map", Args{.positional = {}, .keyword = args.keyword}, {"attribute", "default"}, 1));
    for (const auto& [name, each] : args.keyword) (name == "attribute" ? attribute : otherwise) = &each;
  } else {
    ASSIGN_OR_RETURN(const TextPtr name, to_str(runtime, args.positional[0]));
    filter = find_filter(name->bytes);
    if (filter == nullptr)
      return Error{ErrorCode::kUnsupported, "filter \"" + name->bytes.substr(0, 50) + "\" in map() is not supported"};
    rest.positional.assign(args.positional.begin() + 1, args.positional.end());
    rest.keyword = args.keyword;
  }
  if (!truthy(value)) return iterator(runtime, {}, "sync_do_map");
  ASSIGN_OR_RETURN(const SeqPtr rows, iterate(runtime, value));
  for (const Value& item : rows->items) {
    RETURN_IF_ERROR(runtime.step());
    ASSIGN_OR_RETURN(Value mapped, filter != nullptr ? filter(runtime, item, rest) : look_up(runtime, item, attribute));
    if (mapped.is_undefined() && otherwise != nullptr && !otherwise->is_none()) mapped = *otherwise;
    out.push_back(std::move(mapped));
  }
  return iterator(runtime, std::move(out), "sync_do_map");
}

Result<Value> reverse(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("reverse", args, {}));
  (void)bound;
  if (value.is_string()) {
    const Value open(None{});
    return get_slice(runtime, value, open, open, Value(int64_t{-1}));
  }
  const bool generator = type_name(value) == "generator";
  ASSIGN_OR_RETURN(const SeqPtr rows, iterate(runtime, value));
  std::vector<Value> out(rows->items.rbegin(), rows->items.rend());
  return generator ? runtime.list(std::move(out)) : iterator(runtime, std::move(out), "reverse");
}

Result<Value> sort(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("sort", args, {"reverse", "case_sensitive", "attribute"}));
  if (bound[2] != nullptr && bound[2]->is_string() && bound[2]->text().bytes.find(',') != std::string::npos) {
    return Error{ErrorCode::kUnsupported, "sort() by several attributes is not supported"};
  }
  ASSIGN_OR_RETURN(std::vector<Keyed> keyed, keyed_items(runtime, value, bound[1], bound[2]));
  RETURN_IF_ERROR(sort_keyed(runtime, keyed, is_true(bound[0])));
  std::vector<Value> out;
  for (Keyed& each : keyed) out.push_back(std::move(each.item));
  return runtime.list(std::move(out));
}

Result<Value> sum(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("sum", args, {"attribute", "start"}));
  Value total = bound[1] == nullptr ? Value(int64_t{0}) : *bound[1];
  if (total.is_string()) return type_error("sum() cannot add strings");
  ASSIGN_OR_RETURN(const SeqPtr rows, iterate(runtime, value));
  for (const Value& row : rows->items) {
    ASSIGN_OR_RETURN(const Value item, look_up(runtime, row, bound[0]));
    ASSIGN_OR_RETURN(total, arithmetic(runtime, Op::kAdd, total, item));
  }
  return total;
}

Result<Value> unique(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("unique", args, {"case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(const std::vector<Keyed> keyed, keyed_items(runtime, value, bound[0], bound[1]));
  Dict seen;
  std::vector<Value> out;
  for (const Keyed& each : keyed) {
    if (each.key.is_string()) RETURN_IF_ERROR(runtime.scan(each.key.text().size()));
    if (seen.find(each.key) != nullptr) continue;
    if (!seen.insert(each.key, Value(None{}))) return type_error("unhashable type: '" + type_name(each.key) + "'");
    out.push_back(each.item);
  }
  return iterator(runtime, std::move(out), "do_unique");
}

template <int sign>
Result<Value> extreme(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind(sign > 0 ? "max" : "min", args, {"case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(const std::vector<Keyed> keyed, keyed_items(runtime, value, bound[0], bound[1]));
  if (keyed.empty()) return Value(Undefined{});
  size_t best = 0;
  for (size_t i = 1; i < keyed.size(); ++i) {
    ASSIGN_OR_RETURN(const int order, compare(runtime, keyed[i].key, keyed[best].key));
    if (order == sign) best = i;
  }
  return keyed[best].item;
}
template Result<Value> extreme<1>(Runtime&, const Value&, const Args&);
template Result<Value> extreme<-1>(Runtime&, const Value&, const Args&);

template <bool keep, bool by_attribute>
Result<Value> select(Runtime& runtime, const Value& value, const Args& args) {
  const size_t skip = by_attribute ? 1 : 0;
  if (args.positional.size() < skip) return type_error("selectattr() and rejectattr() need an attribute");
  const Value* attribute = by_attribute ? args.positional.data() : nullptr;
  TestFunction test = nullptr;
  Args rest;
  if (args.positional.size() > skip) {
    ASSIGN_OR_RETURN(const TextPtr name, to_str(runtime, args.positional[skip]));
    test = find_test(name->bytes);
    if (test == nullptr)
      return Error{ErrorCode::kUnsupported, "test \"" + name->bytes.substr(0, 50) + "\" in select() is not supported"};
    rest.positional.assign(args.positional.begin() + static_cast<long>(skip) + 1, args.positional.end());
    rest.keyword = args.keyword;
  }
  if (!truthy(value)) return iterator(runtime, {}, "select_or_reject");
  ASSIGN_OR_RETURN(const SeqPtr rows, iterate(runtime, value));
  std::vector<Value> out;
  for (const Value& item : rows->items) {
    ASSIGN_OR_RETURN(const Value looked_at, look_up(runtime, item, attribute));
    bool passes = truthy(looked_at);
    if (test != nullptr) {
      ASSIGN_OR_RETURN(passes, test(runtime, looked_at, rest));
    }
    if (passes == keep) out.push_back(item);
  }
  return iterator(runtime, std::move(out), "select_or_reject");
}
template Result<Value> select<true, false>(Runtime&, const Value&, const Args&);
template Result<Value> select<true, true>(Runtime&, const Value&, const Args&);
template Result<Value> select<false, false>(Runtime&, const Value&, const Args&);
template Result<Value> select<false, true>(Runtime&, const Value&, const Args&);

}  // namespace glimpse::jinja::filters
