// The expressions of an evaluation, calls and macros among them.

#include <algorithm>

#include "jinja/access.h"
#include "jinja/evaluator.h"
#include "jinja/evaluator_guards.h"

namespace glimpse::jinja {

Result<Value> Evaluator::eval(const Expr& expr) {
  const DepthGuard guard(depth_);
  line_ = expr.line;
  RETURN_IF_ERROR(runtime_.step());
  if (depth_ > kMaxRunDepth) return Error{ErrorCode::kTooLarge, "blocks, expressions and macros nested too deeply"};
  switch (expr.op) {
    case Op::kConst:
      return expr.constant;
    case Op::kName:
      return look_up(expr.name_id);
    case Op::kTuple:
    case Op::kList: {
      ASSIGN_OR_RETURN(std::vector<Value> items, eval_all(expr.items, 0));
      return runtime_.seq(expr.op == Op::kTuple ? Seq::Kind::kTuple : Seq::Kind::kList, std::move(items));
    }
    case Op::kDict:
      return eval_dict(expr);
    case Op::kNeg:
    case Op::kPos: {
      ASSIGN_OR_RETURN(const Value value, eval(*expr.items[0]));
      return negate(value, expr.op == Op::kNeg);
    }
    case Op::kNot: {
      ASSIGN_OR_RETURN(const Value value, eval(*expr.items[0]));
      return Value(!truthy(value));
    }
    case Op::kAnd:
    case Op::kOr:
    case Op::kCond:
      return eval_logic(expr);
    case Op::kConcat:
      return eval_concat(expr);
    case Op::kCompare:
      return eval_compare(expr);
    case Op::kAttribute: {
      ASSIGN_OR_RETURN(const Value value, eval(*expr.items[0]));
      return get_attribute(runtime_, value, expr.name);
    }
    case Op::kItem: {
      ASSIGN_OR_RETURN(const Value value, eval(*expr.items[0]));
      ASSIGN_OR_RETURN(const Value key, eval(*expr.items[1]));
      return get_item(runtime_, value, key);
    }
    case Op::kSlice:
      return eval_slice(expr);
    case Op::kCall:
      return eval_call(expr);
    case Op::kFilter: {
      Value value = block_text_;
      if (expr.items[0] != nullptr) {
        ASSIGN_OR_RETURN(value, eval(*expr.items[0]));
      }
      ASSIGN_OR_RETURN(const Args args, eval_args(expr));
      return expr.filter(runtime_, value, args);
    }
    case Op::kTest: {
      ASSIGN_OR_RETURN(const Value value, eval(*expr.items[0]));
      ASSIGN_OR_RETURN(const Args args, eval_args(expr));
      ASSIGN_OR_RETURN(const bool passes, expr.test(runtime_, value, args));
      return Value(passes);
    }
    default: {
      ASSIGN_OR_RETURN(const Value left, eval(*expr.items[0]));
      ASSIGN_OR_RETURN(const Value right, eval(*expr.items[1]));
      return arithmetic(runtime_, expr.op, left, right);
    }
  }
}

Result<std::vector<Value>> Evaluator::eval_all(const std::vector<ExprPtr>& items, size_t from) {
  std::vector<Value> values;
  values.reserve(items.size());
  for (size_t i = from; i < items.size(); ++i) {
    ASSIGN_OR_RETURN(Value value, eval(*items[i]));
    values.push_back(std::move(value));
  }
  return values;
}

Result<Value> Evaluator::eval_dict(const Expr& expr) {
  Dict dict;
  for (size_t i = 0; i + 1 < expr.items.size(); i += 2) {
    ASSIGN_OR_RETURN(Value key, eval(*expr.items[i]));
    ASSIGN_OR_RETURN(Value value, eval(*expr.items[i + 1]));
    if (key.is_string()) RETURN_IF_ERROR(runtime_.scan(key.text().size()));
    if (!dict.insert(key, std::move(value))) return type_error("unhashable type: '" + type_name(key) + "'");
  }
  return runtime_.dict(std::move(dict));
}

Result<Value> Evaluator::eval_logic(const Expr& expr) {
  if (expr.op == Op::kCond) {
    ASSIGN_OR_RETURN(const Value condition, eval(*expr.items[0]));
    if (truthy(condition)) return eval(*expr.items[1]);
    return expr.items.size() > 2 ? eval(*expr.items[2]) : Value(Undefined{});
  }
  for (size_t i = 0; i + 1 < expr.items.size(); ++i) {
    ASSIGN_OR_RETURN(Value value, eval(*expr.items[i]));
    if (truthy(value) == (expr.op == Op::kOr)) return value;
  }
  return eval(*expr.items.back());
}

Result<Value> Evaluator::eval_concat(const Expr& expr) {
  TextBuilder builder;
  for (const ExprPtr& item : expr.items) {
    ASSIGN_OR_RETURN(const Value value, eval(*item));
    RETURN_IF_ERROR(append_str(runtime_, value, builder));
  }
  return runtime_.string(std::move(builder));
}

Result<Value> Evaluator::eval_compare(const Expr& expr) {
  ASSIGN_OR_RETURN(Value left, eval(*expr.items[0]));
  for (size_t i = 0; i < expr.compare.size(); ++i) {
    ASSIGN_OR_RETURN(Value right, eval(*expr.items[i + 1]));
    ASSIGN_OR_RETURN(const bool holds, compare_with(runtime_, expr.compare[i], left, right));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Result<Value> Evaluator::eval_slice(const Expr& expr) {
  ASSIGN_OR_RETURN(const Value value, eval(*expr.items[0]));
  Value bounds[3] = {None{}, None{}, None{}};
  for (size_t i = 0; i < 3; ++i) {
    if (expr.items[i + 1] == nullptr) continue;
    ASSIGN_OR_RETURN(bounds[i], eval(*expr.items[i + 1]));
  }
  return get_slice(runtime_, value, bounds[0], bounds[1], bounds[2]);
}

Result<Args> Evaluator::eval_args(const Expr& expr) {
  Args args;
  ASSIGN_OR_RETURN(args.positional, eval_all(expr.items, 1));
  if (expr.star != nullptr) {
    ASSIGN_OR_RETURN(const Value more, eval(*expr.star));
    ASSIGN_OR_RETURN(const SeqPtr items, iterate(runtime_, more));
    RETURN_IF_ERROR(runtime_.charge(items->items.size() * sizeof(Value)));
    args.positional.insert(args.positional.end(), items->items.begin(), items->items.end());
  }
  for (const auto& [name, item] : expr.keyword) {
    ASSIGN_OR_RETURN(Value value, eval(*item));
    args.keyword.emplace_back(name, std::move(value));
  }
  if (expr.double_star != nullptr) {
    ASSIGN_OR_RETURN(const Value more, eval(*expr.double_star));
    if (!more.is<DictPtr>()) return type_error("argument after ** must be a mapping, not " + type_name(more));
    for (const auto& [key, value] : more.as<DictPtr>()->items) {
      if (!key.is_string()) return type_error("keywords must be strings");
      RETURN_IF_ERROR(runtime_.charge(key.text().size() + sizeof(Value)));
      const auto same_name = [&name = key.text().bytes](const auto& each) { return each.first == name; };
      if (std::any_of(args.keyword.begin(), args.keyword.begin() + static_cast<long>(expr.keyword.size()), same_name)) {
        return type_error("got multiple values for keyword argument '" + key.text().bytes + "'");
      }
      args.keyword.emplace_back(key.text().bytes, value);
    }
  }
  return args;
}

Result<Value> Evaluator::eval_call(const Expr& expr) {
  const Expr& callee = *expr.items[0];
  if (callee.op == Op::kAttribute) {  // value.method(…) without making a bound method first
    ASSIGN_OR_RETURN(const Value receiver, eval(*callee.items[0]));
    const bool is_method = has_method(receiver, callee.name);
    Value attribute;
    if (!is_method) {
      ASSIGN_OR_RETURN(attribute, get_attribute(runtime_, receiver, callee.name));
    }
    ASSIGN_OR_RETURN(const Args args, eval_args(expr));
    line_ = expr.line;
    return is_method ? call_method(runtime_, receiver, callee.name, args) : call(attribute, args);
  }
  ASSIGN_OR_RETURN(const Value function, eval(callee));
  ASSIGN_OR_RETURN(const Args args, eval_args(expr));
  line_ = expr.line;
  return call(function, args);
}

Result<Value> Evaluator::call(const Value& callee, const Args& args) {
  if (callee.is<const Macro*>()) return call_macro(*callee.as<const Macro*>(), args);
  if (callee.is<Function>()) return call_function(runtime_, callee.as<Function>(), args);
  if (callee.is<MethodPtr>())
    return call_method(runtime_, callee.as<MethodPtr>()->receiver, callee.as<MethodPtr>()->name, args);
  if (callee.is_undefined()) return undefined_error(callee.as<Undefined>());
  return type_error("'" + type_name(callee) + "' object is not callable");
}

Result<Value> Evaluator::call_macro(const Macro& macro, const Args& args) {
  const DepthGuard calls(calls_);
  if (calls_ > runtime_.limits.call_depth) {
    return Error{ErrorCode::kTooLarge,
                 "macros call each other more than " + std::to_string(runtime_.limits.call_depth) + " deep"};
  }
  const int loops = std::exchange(loops_, 0);
  TextBuilder written;
  TextBuilder* const outer = std::exchange(output_, &written);
  auto done = [&]() -> Status {
    const ScopeGuard scope(*this, macro.closure);
    RETURN_IF_ERROR(bind_parameters(*macro.definition, args));
    auto flow = exec_block(macro.definition->blocks[0]);
    return flow ? Status() : Status(std::move(flow).error());
  }();
  output_ = outer;
  loops_ = loops;
  RETURN_IF_ERROR(std::move(done));
  return runtime_.string(std::move(written));
}

Status Evaluator::bind_parameters(const Stmt& definition, const Args& args) {
  const auto& parameters = definition.parameters;
  std::vector<const Value*> given(parameters.size(), nullptr);
  for (size_t i = 0; i < std::min(args.positional.size(), parameters.size()); ++i) given[i] = &args.positional[i];
  Dict extra;
  for (const auto& [name, value] : args.keyword) {
    const auto parameter =
        std::find_if(parameters.begin(), parameters.end(), [&](const Parameter& p) { return p.name == name; });
    if (parameter == parameters.end()) {
      if (kwargs_id_ < 0) return type_error("macro '" + definition.name + "' takes no keyword argument '" + name + "'");
      extra.insert(Value(trusted_text(name)), value);
      continue;
    }
    const Value*& slot = given[static_cast<size_t>(parameter - parameters.begin())];
    if (slot != nullptr) return type_error("macro '" + definition.name + "' got two values for '" + name + "'");
    slot = &value;
  }
  if (args.positional.size() > parameters.size() && varargs_id_ < 0) {
    return type_error("macro '" + definition.name + "' takes not more than " + std::to_string(parameters.size()) +
                      " arguments");
  }
  if (varargs_id_ >= 0) {
    const auto used = static_cast<long>(std::min(args.positional.size(), parameters.size()));
    std::vector<Value> rest(args.positional.begin() + used, args.positional.end());
    ASSIGN_OR_RETURN(Value varargs, runtime_.seq(Seq::Kind::kTuple, std::move(rest)));
    set(varargs_id_, std::move(varargs));
  }
  if (kwargs_id_ >= 0) {
    ASSIGN_OR_RETURN(Value kwargs, runtime_.dict(std::move(extra)));
    set(kwargs_id_, std::move(kwargs));
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    Value value(Undefined{&parameters[i].name, nullptr});
    if (given[i] != nullptr) {
      value = *given[i];
    } else if (parameters[i].fallback != nullptr) {
      ASSIGN_OR_RETURN(value, eval(*parameters[i].fallback));
    }
    set(parameters[i].name_id, std::move(value));
  }
  return {};
}

}  // namespace glimpse::jinja
