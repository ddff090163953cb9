#include "jinja/evaluator.h"

#include <algorithm>

#include "jinja/access.h"
#include "jinja/evaluator_guards.h"

namespace glimpse::jinja {

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

}  // namespace glimpse::jinja
