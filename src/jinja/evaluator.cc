#include "jinja/evaluator.h"

#include <algorithm>

#include "jinja/access.h"

namespace glimpse::jinja {

// A scope for the length of a block. If a macro was made inside, the scope outlives the block.
class Evaluator::ScopeGuard {
 public:
  ScopeGuard(Evaluator& evaluator, Scope* parent)
      : evaluator_(evaluator), outer_(evaluator.scope_), scope_(std::make_unique<Scope>()) {
    scope_->parent = parent;
    evaluator_.scope_ = scope_.get();
  }
  ~ScopeGuard() {
    evaluator_.scope_ = outer_;
    if (scope_->captured) evaluator_.captured_.push_back(std::move(scope_));
  }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

  // A fresh scope in the same place, for the next turn of a loop.
  void renew() {
    if (!scope_->captured) {
      scope_->names.clear();
      return;
    }
    auto fresh = std::make_unique<Scope>();
    fresh->parent = scope_->parent;
    evaluator_.captured_.push_back(std::exchange(scope_, std::move(fresh)));
    evaluator_.scope_ = scope_.get();
  }

 private:
  Evaluator& evaluator_;
  Scope* outer_;
  std::unique_ptr<Scope> scope_;
};

class Evaluator::DepthGuard {
 public:
  explicit DepthGuard(int& depth) : depth_(depth) { ++depth_; }
  ~DepthGuard() { --depth_; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  int& depth_;
};

Evaluator::Evaluator(Runtime& runtime, const Program& program, std::vector<Value> globals)
    : runtime_(runtime),
      program_(program),
      globals_(std::move(globals)),
      loop_id_(id_of("loop")),
      varargs_id_(id_of("varargs")),
      kwargs_id_(id_of("kwargs")) {}

int Evaluator::id_of(std::string_view name) const {
  const auto found = std::find(program_.names.begin(), program_.names.end(), name);
  return found == program_.names.end() ? -1 : static_cast<int>(found - program_.names.begin());
}

Result<Text> Evaluator::run() {
  auto done = exec_block(program_.body);
  if (!done) return std::move(done).error().in("line " + std::to_string(line_));
  return root_output_.take();
}

const Value& Evaluator::look_up(int name_id) const {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    for (const auto& [id, value] : scope->names) {
      if (id == name_id) return value;
    }
  }
  return globals_[static_cast<size_t>(name_id)];
}

void Evaluator::set(int name_id, Value value) {
  for (auto& [id, old] : scope_->names) {
    if (id == name_id) {
      old = std::move(value);
      return;
    }
  }
  scope_->names.emplace_back(name_id, std::move(value));
}

// ---- statements ----

Result<Evaluator::Flow> Evaluator::exec_block(const Block& block) {
  for (const auto& stmt : block) {
    ASSIGN_OR_RETURN(const Flow flow, exec(*stmt));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Result<Evaluator::Flow> Evaluator::exec(const Stmt& stmt) {
  const DepthGuard guard(depth_);
  line_ = stmt.line;
  RETURN_IF_ERROR(runtime_.step());
  if (depth_ > kMaxRunDepth) return Error{ErrorCode::kTooLarge, "blocks, expressions and macros nested too deeply"};
  switch (stmt.kind) {
    case StmtKind::kText:
      output_->append(*stmt.text);
      RETURN_IF_ERROR(check_output());
      break;
    case StmtKind::kOutput:
      RETURN_IF_ERROR(exec_output(stmt));
      break;
    case StmtKind::kIf:
      return exec_if(stmt);
    case StmtKind::kFor:
      return exec_for(stmt);
    case StmtKind::kSet: {
      ASSIGN_OR_RETURN(const Value value, eval(*stmt.exprs[0]));
      RETURN_IF_ERROR(assign(stmt.targets[0], value));
      break;
    }
    case StmtKind::kSetBlock: {
      ASSIGN_OR_RETURN(const Value value, capture(stmt.blocks[0], stmt.exprs[0].get()));
      RETURN_IF_ERROR(assign(stmt.targets[0], value));
      break;
    }
    case StmtKind::kMacro:
      RETURN_IF_ERROR(exec_macro(stmt));
      break;
    case StmtKind::kFilterBlock: {
      ASSIGN_OR_RETURN(const Value value, capture(stmt.blocks[0], stmt.exprs[0].get()));
      RETURN_IF_ERROR(append_str(runtime_, value, *output_));
      RETURN_IF_ERROR(check_output());
      break;
    }
    case StmtKind::kWith:
      return exec_with(stmt);
    case StmtKind::kScope: {
      const ScopeGuard scope(*this, scope_);
      return exec_block(stmt.blocks[0]);
    }
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Status Evaluator::check_output() {
  if (output_->size() <= runtime_.limits.output_bytes) return {};
  return Error{ErrorCode::kTooLarge,
               "the output is longer than the " + std::to_string(runtime_.limits.output_bytes) + " bytes allowed"};
}

Status Evaluator::exec_output(const Stmt& stmt) {
  ASSIGN_OR_RETURN(const Value value, eval(*stmt.exprs[0]));
  if (value.is_string()) {  // the common case; its bytes are counted by the limit on the output
    output_->append(value.text());
  } else {
    RETURN_IF_ERROR(append_str(runtime_, value, *output_));
  }
  return check_output();
}

Result<Evaluator::Flow> Evaluator::exec_if(const Stmt& stmt) {
  for (size_t i = 0; i < stmt.exprs.size(); ++i) {
    ASSIGN_OR_RETURN(const Value condition, eval(*stmt.exprs[i]));
    if (truthy(condition)) return exec_block(stmt.blocks[i]);
  }
  if (stmt.blocks.size() > stmt.exprs.size()) return exec_block(stmt.blocks.back());
  return Flow::kNext;
}

Result<SeqPtr> Evaluator::filtered(const Stmt& stmt, SeqPtr items) {
  if (stmt.exprs[1] == nullptr) return items;
  std::vector<Value> kept;
  ScopeGuard scope(*this, scope_);
  for (const Value& item : items->items) {
    scope.renew();
    RETURN_IF_ERROR(assign(stmt.targets[0], item));
    ASSIGN_OR_RETURN(const Value passes, eval(*stmt.exprs[1]));
    if (truthy(passes)) kept.push_back(item);
  }
  ASSIGN_OR_RETURN(const Value list, runtime_.list(std::move(kept)));
  return list.as<SeqPtr>();
}

Result<Evaluator::Flow> Evaluator::exec_for(const Stmt& stmt) {
  ASSIGN_OR_RETURN(const Value iterable, eval(*stmt.exprs[0]));
  ASSIGN_OR_RETURN(SeqPtr items, iterate(runtime_, iterable));
  ASSIGN_OR_RETURN(items, filtered(stmt, std::move(items)));
  if (items->items.empty()) {
    const ScopeGuard scope(*this, scope_);
    return exec_block(stmt.blocks[1]);
  }
  const DepthGuard loops(loops_);
  const auto loop = std::make_shared<Loop>(Loop{.items = items, .index = 0, .depth = loops_});
  if (items->depth + 1 > kMaxValueDepth) return Error{ErrorCode::kTooLarge, "value nested too deeply"};
  ScopeGuard scope(*this, scope_);
  for (size_t i = 0; i < items->items.size(); ++i) {
    RETURN_IF_ERROR(runtime_.step());
    if (i > 0) scope.renew();
    loop->index = i;
    RETURN_IF_ERROR(assign(stmt.targets[0], items->items[i]));
    if (loop_id_ >= 0) set(loop_id_, Value(LoopPtr(loop)));
    ASSIGN_OR_RETURN(const Flow flow, exec_block(stmt.blocks[0]));
    if (flow == Flow::kBreak) break;
  }
  return Flow::kNext;
}

Status Evaluator::exec_macro(const Stmt& stmt) {
  RETURN_IF_ERROR(runtime_.charge(sizeof(Macro) + sizeof(Scope) + 256));
  for (Scope* scope = scope_; scope != nullptr && !scope->captured; scope = scope->parent) scope->captured = true;
  macros_.push_back(Macro{&stmt, scope_});
  set(stmt.name_id, Value(&macros_.back()));
  return {};
}

Result<Evaluator::Flow> Evaluator::exec_with(const Stmt& stmt) {
  ASSIGN_OR_RETURN(std::vector<Value> values, eval_all(stmt.exprs, 0));
  const ScopeGuard scope(*this, scope_);
  for (size_t i = 0; i < values.size(); ++i) set(stmt.targets[i].name_id, std::move(values[i]));
  return exec_block(stmt.blocks[0]);
}

Result<Value> Evaluator::capture(const Block& block, const Expr* filter) {
  TextBuilder written;
  TextBuilder* const outer = std::exchange(output_, &written);
  auto flow = [&] {
    const ScopeGuard scope(*this, scope_);
    return exec_block(block);
  }();
  output_ = outer;
  if (!flow) return std::move(flow).error();
  ASSIGN_OR_RETURN(Value text, runtime_.string(std::move(written)));
  if (filter == nullptr) return text;
  const Value outer_text = std::exchange(block_text_, std::move(text));
  auto result = eval(*filter);
  block_text_ = outer_text;
  return result;
}

Status Evaluator::assign(const Target& target, const Value& value) {
  if (target.is_tuple) {
    ASSIGN_OR_RETURN(const SeqPtr items, iterate(runtime_, value));
    if (items->items.size() != target.items.size()) {
      return type_error("cannot unpack " + std::to_string(items->items.size()) + " values into " +
                        std::to_string(target.items.size()) + " names");
    }
    for (size_t i = 0; i < target.items.size(); ++i) RETURN_IF_ERROR(assign(target.items[i], items->items[i]));
    return {};
  }
  if (!target.attribute.empty()) return assign_attribute(target, value);
  set(target.name_id, value);
  return {};
}

Status Evaluator::assign_attribute(const Target& target, const Value& value) {
  const Value& space = look_up(target.name_id);
  if (!space.is<NamespacePtr>())
    return type_error("cannot assign attribute on a value that is no namespace: \"" + target.name + "\"");
  if (target.attribute.starts_with('_')) return type_error("namespace attributes must not begin with \"_\"");
  auto& attributes = space.as<NamespacePtr>()->attributes;
  for (auto& [name, old] : attributes) {
    if (name == target.attribute) {
      // Moved out first: taking the old value apart must not look at the namespace half changed.
      const Value previous = std::exchange(old, value);
      return {};
    }
  }
  RETURN_IF_ERROR(runtime_.charge(target.attribute.size() + sizeof(Value)));
  attributes.emplace_back(target.attribute, value);
  return {};
}

// ---- expressions ----

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
