#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "base/result.h"
#include "jinja/ast.h"
#include "jinja/parser.h"
#include "jinja/runtime.h"

namespace glimpse::jinja {

// Deepest nesting of statements and expressions being run, through macros; bounds the machine's stack. Four levels are
// about a kilobyte of it, ten times that under the sanitizers.
inline constexpr int kMaxRunDepth = 600;

// Runs one program once. Names resolve to the innermost scope that has them, then to the globals given here.
class Evaluator {
 public:
  // globals: one value per name of the program, Undefined where there is none.
  Evaluator(Runtime& runtime, const Program& program, std::vector<Value> globals);

  // Errors: the line is in front.
  Result<Text> run();

 private:
  enum class Flow { kNext, kBreak, kContinue };
  class ScopeGuard;
  class DepthGuard;

  Result<Flow> exec_block(const Block& block);
  Result<Flow> exec(const Stmt& stmt);
  Result<Flow> exec_if(const Stmt& stmt);
  Result<Flow> exec_for(const Stmt& stmt);
  Status exec_output(const Stmt& stmt);
  Status exec_macro(const Stmt& stmt);
  Result<Flow> exec_with(const Stmt& stmt);
  Result<SeqPtr> filtered(const Stmt& stmt, SeqPtr items);
  // The text that a block writes, in a scope of its own, passed through the filter if there is one.
  Result<Value> capture(const Block& block, const Expr* filter);
  Status assign(const Target& target, const Value& value);
  Status assign_attribute(const Target& target, const Value& value);
  Status check_output();

  Result<Value> eval(const Expr& expr);
  Result<Value> eval_dict(const Expr& expr);
  Result<Value> eval_logic(const Expr& expr);
  Result<Value> eval_concat(const Expr& expr);
  Result<Value> eval_compare(const Expr& expr);
  Result<Value> eval_slice(const Expr& expr);
  Result<Value> eval_call(const Expr& expr);
  Result<std::vector<Value>> eval_all(const std::vector<ExprPtr>& items, size_t from);
  Result<Args> eval_args(const Expr& expr);
  Result<Value> call(const Value& callee, const Args& args);
  Result<Value> call_macro(const Macro& macro, const Args& args);
  Status bind_parameters(const Stmt& definition, const Args& args);

  const Value& look_up(int name_id) const;
  void set(int name_id, Value value);
  int id_of(std::string_view name) const;  // -1 if the program never mentions it

  Runtime& runtime_;
  const Program& program_;
  std::vector<Value> globals_;
  Scope root_;
  Scope* scope_ = &root_;
  std::vector<std::unique_ptr<Scope>> captured_;  // scopes that macros may still look into
  std::deque<Macro> macros_;
  TextBuilder root_output_;
  TextBuilder* output_ = &root_output_;
  Value block_text_;  // what a filter without a value on its left is applied to
  int depth_ = 0;
  int calls_ = 0;
  int loops_ = 0;
  int line_ = 1;
  int loop_id_;
  int varargs_id_;
  int kwargs_id_;
};

}  // namespace glimpse::jinja
