#pragma once

// Jinja's expressions, by recursive descent in the order of jinja2's grammar: conditional, or, and, not, comparison,
// + -, ~, * / // %, **, sign, primary with its subscripts and calls, filters and tests.

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/ast.h"
#include "jinja/lexer.h"
#include "jinja/parser.h"

namespace glimpse::jinja {

// A place in the tokens, and the trees that begin there. The statements' parser derives from it (parser.cc).
class ExpressionParser {
 public:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

 protected:
  static bool is_constant_name(std::string_view name) {
    return name == "true" || name == "True" || name == "false" || name == "False" || name == "none" || name == "None";
  }

  // Counts the levels of a tree while one is open.
  class Nesting {
   public:
    explicit Nesting(ExpressionParser& parser) : parser_(parser) { ++parser_.nesting_; }
    ~Nesting() { --parser_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    ExpressionParser& parser_;
  };

  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  bool is_op(std::string_view op) const { return now().type == TokenType::kOperator && now().text == op; }
  bool is_name(std::string_view name) const { return now().type == TokenType::kName && now().text == name; }
  Token take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }

  bool skip_op(std::string_view op) {
    if (!is_op(op)) return false;
    take();
    return true;
  }
  bool skip_name(std::string_view name) {
    if (!is_name(name)) return false;
    take();
    return true;
  }

  std::string shown() const {
    switch (now().type) {
      case TokenType::kVariableEnd:
        return "\"}}\"";
      case TokenType::kBlockEnd:
        return "\"%}\"";
      case TokenType::kEnd:
        return "the end of the template";
      case TokenType::kString:
        return "a string";
      default:
        return "\"" + now().text + "\"";
    }
  }

  Error unexpected(std::string_view wanted) const {
    return syntax_error(now().line, "expected " + std::string(wanted) + ", found " + shown());
  }
  static Error unsupported(int line, const std::string& what) {
    return {ErrorCode::kUnsupported, "line " + std::to_string(line) + ": " + what + " is not supported"};
  }

  Status check_nesting() const {
    if (nesting_ <= kMaxTreeDepth) return {};
    return Error{ErrorCode::kTooLarge,
                 "line " + std::to_string(now().line) + ": nested deeper than " + std::to_string(kMaxTreeDepth)};
  }

  Status expect_op(std::string_view op) {
    if (!skip_op(op)) return unexpected("\"" + std::string(op) + "\"");
    return {};
  }
  Status expect_block_end() {
    if (now().type != TokenType::kBlockEnd) return unexpected("\"%}\"");
    take();
    return {};
  }
  Result<std::string> expect_name() {
    if (now().type != TokenType::kName) return unexpected("a name");
    return take().text;
  }

  int intern(const std::string& name) {
    const auto [found, is_new] = name_ids_.emplace(name, static_cast<int>(program_.names.size()));
    if (is_new) program_.names.push_back(name);
    return found->second;
  }

  ExprPtr make(Op op, int line) const {
    auto expr = std::make_unique<Expr>();
    expr->op = op;
    expr->line = line;
    return expr;
  }

  // Every expression passes here once its parts are in place.
  Result<ExprPtr> done(ExprPtr expr) const {
    int depth = 0;
    const auto look = [&](const ExprPtr& part) {
      if (part != nullptr) depth = std::max(depth, part->depth);
    };
    for (const ExprPtr& item : expr->items) look(item);
    for (const auto& [name, value] : expr->keyword) look(value);
    look(expr->star);
    look(expr->double_star);
    expr->depth = depth + 1;
    if (expr->depth > kMaxTreeDepth) {
      return Error{ErrorCode::kTooLarge, "line " + std::to_string(expr->line) + ": expression nested deeper than " +
                                             std::to_string(kMaxTreeDepth)};
    }
    return expr;
  }

  Result<ExprPtr> binary(Op op, int line, ExprPtr left, ExprPtr right) const {
    ExprPtr expr = make(op, line);
    expr->items.push_back(std::move(left));
    expr->items.push_back(std::move(right));
    return done(std::move(expr));
  }

  Result<ExprPtr> parse_expression(bool with_condition = true);
  // One or more operands of `next` separated by the word; n-ary, so that long chains stay shallow.
  Result<ExprPtr> parse_chain(Op op, std::string_view word, Result<ExprPtr> (ExpressionParser::*next)());
  Result<ExprPtr> parse_or();
  Result<ExprPtr> parse_and();
  Result<ExprPtr> parse_not();
  bool take_comparison(Compare& compare);
  Result<ExprPtr> parse_compare();
  Result<ExprPtr> parse_sum();
  Result<ExprPtr> parse_concat();
  Result<ExprPtr> parse_product();
  Result<ExprPtr> parse_power();
  Result<ExprPtr> parse_unary(bool with_filter);
  Result<ExprPtr> constant(int line, Value value) const;
  Result<ExprPtr> parse_primary();
  Result<ExprPtr> parse_list();
  Result<ExprPtr> parse_dict();
  bool at_tuple_end() const;
  // An expression, or several with commas between.
  Result<ExprPtr> parse_tuple(bool with_condition, bool may_be_empty);
  Result<ExprPtr> parse_postfix(ExprPtr expr);
  Result<ExprPtr> parse_subscript(ExprPtr value);
  Status parse_arguments(Expr& call);
  Result<ExprPtr> parse_call(ExprPtr callee);
  Result<ExprPtr> parse_filters_and_tests(ExprPtr expr);
  // After the "|". A null value stands for the text of a filter or set block.
  Result<ExprPtr> parse_filter(ExprPtr value);
  Result<ExprPtr> parse_test(ExprPtr value);
  bool starts_test_argument() const;

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;
  Program program_;
  std::map<std::string, int> name_ids_;
};

}  // namespace glimpse::jinja
